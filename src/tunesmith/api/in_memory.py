"""A model given as an object: it becomes a base with a name, and stays as it was."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TypeVar

from tunesmith.core.errors import ModelError, UsageError

Keywords = TypeVar("Keywords", bound=Mapping[str, object])


@contextlib.contextmanager
def holding(keywords: Keywords) -> Iterator[Keywords]:
    """The keywords with ``model`` named; inside, that name is the caller's model in memory.

    A model that is named already passes through. The model is never changed: work goes on in a
    structure of its own over the same tensors. Raises ModelError for what cannot be a base.
    """
    model, tokenizer = keywords.get("model"), keywords.get("tokenizer")
    if isinstance(model, tuple) and len(model) == 2:
        model, tokenizer = model
    if model is None or isinstance(model, str) or hasattr(model, "__fspath__"):
        if tokenizer is not None:
            raise UsageError("tokenizer goes with a model in memory; a named model has its own.")
        yield keywords
        return
    from transformers import PreTrainedTokenizerBase

    from tunesmith.models import in_memory

    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise UsageError(
            "A model in memory comes with its tokenizer.",
            remedy="Give model=(model, tokenizer), or tokenizer=tokenizer beside it.",
        )
    plain = in_memory.require_plain(model)
    held = in_memory.HeldModel(plain, tokenizer)
    folder = in_memory.folder_of(held)
    given = {**keywords, "model": str(folder)}
    given.pop("tokenizer", None)
    given.setdefault("dtype", _dtype_name(plain.dtype))
    given.setdefault("device", str(plain.device))
    with in_memory.holding(held, folder):
        yield given  # type: ignore[misc]  # the same keys


def _dtype_name(dtype: object) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in ("float32", "bfloat16"):
        raise ModelError(
            f"The model is in {name}.", remedy="Convert it: model.to(torch.bfloat16), or .float()."
        )
    return name
