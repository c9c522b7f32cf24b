"""A transformers model that the caller holds: a copy of its structure over the same tensors."""

import contextlib
import copy
import hashlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tunesmith.core.errors import ModelError
from tunesmith.core.numbers import bytes_text
from tunesmith.core.progress import SILENT, Progress
from tunesmith.models.cache import models_root, publish
from tunesmith.models.layout import as_stored

SHOWN_HASH = 16


@dataclass(frozen=True, slots=True)
class HeldModel:
    """A model of the caller's and its tokenizer; neither is ever changed."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def structure(self) -> PreTrainedModel:
        """A model of its own modules and config, without hooks, over the caller's tensors.

        No tensor of it requires a gradient. Call ``own_weights_`` before weights are changed.
        """
        memo: dict[int, object] = {}
        for module in self.model.modules():
            for name, hooks in vars(module).items():
                if "_hooks" in name and isinstance(hooks, dict):
                    memo[id(hooks)] = type(hooks)()
        for tensor in chain(self.model.parameters(), self.model.buffers()):
            data = tensor.detach()
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(data, requires_grad=False) if is_parameter else data
        return copy.deepcopy(self.model, memo)


# By the folder that holds the same base, which is how a run names it.
_held: ContextVar[Mapping[Path, HeldModel]] = ContextVar("held")


def held_model(folder: Path) -> HeldModel | None:
    """The caller's model that is the base in ``folder``, while ``holding`` it."""
    return _held.get({}).get(folder.absolute())


def own_weights_(model: PreTrainedModel) -> None:
    """Give a structure copies of the caller's weights, which may then be changed."""
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()


@contextlib.contextmanager
def holding(held: HeldModel, folder: Path) -> Iterator[None]:
    """Inside, loading the base in ``folder`` gives a structure over the caller's tensors."""
    token = _held.set({**_held.get({}), folder.absolute(): held})
    try:
        yield
    finally:
        _held.reset(token)


def require_plain(model: object) -> PreTrainedModel:
    """The model; ModelError for one that cannot be a base: wrapped, quantized, on many devices."""
    if hasattr(model, "peft_config"):
        raise ModelError(
            "The model is wrapped by PEFT.",
            remedy="Give model.unload(), or model.get_base_model().",
        )
    if not isinstance(model, PreTrainedModel):
        raise ModelError(f"{type(model).__name__} is not a transformers model.")
    if getattr(model, "hf_quantizer", None) is not None:
        raise ModelError(
            "The model is quantized.", remedy='Name it instead, with method="qlora" for 4-bit.'
        )
    devices = {str(tensor.device) for tensor in model.parameters()}
    if len(devices) > 1 or "meta" in devices or hasattr(model, "_hf_hook"):
        raise ModelError(
            f"The model is spread over {', '.join(sorted(devices))}.",
            remedy="Load it on one device, without device_map.",
        )
    return model


def folder_of(held: HeldModel, *, progress: Progress = SILENT) -> Path:
    """The folder with this base: the one it was loaded from, if that holds the same tensors.

    Otherwise it is saved once into the cache: a run names its base, so that it can be resumed,
    evaluated and exported later.
    """
    source = Path(str(getattr(held.model.config, "_name_or_path", "") or "")).expanduser()
    if (source / "config.json").is_file() and _is_same(held, source):
        return source
    folder = models_root() / f"in-memory-{_digest(held)[:SHOWN_HASH]}"

    def fill(into: Path) -> None:
        size = sum(tensor.nbytes for tensor in held.model.parameters())
        progress.phase(f"saving the model in memory once: {folder} ({bytes_text(size)})")
        held.structure().save_pretrained(into)
        held.tokenizer.save_pretrained(into)

    return publish(folder, fill=fill, progress=progress)


def _is_same(held: HeldModel, folder: Path) -> bool:
    """Whether a folder holds every tensor of the model as it is, and its tokenizer."""
    tensors = as_stored(held.model, held.model.state_dict())
    left = dict(tensors)
    try:
        for file in folder.glob("*.safetensors"):
            with safe_open(file, framework="pt") as stored:
                for name in stored.keys():  # noqa: SIM118  # it is no mapping
                    if name not in left or not _equal(left.pop(name), stored.get_tensor(name)):
                        return False
        others = _tokenizer_text(AutoTokenizer.from_pretrained(folder, local_files_only=True))
    except (OSError, RuntimeError, ValueError):
        return False
    tied = {tensors[name].data_ptr() for name in tensors.keys() - left.keys()}
    is_whole = all(tensor.data_ptr() in tied for tensor in left.values())
    return is_whole and others == _tokenizer_text(held.tokenizer)


def _equal(mine: Tensor, stored: Tensor) -> bool:
    return mine.shape == stored.shape and torch.equal(mine.cpu(), stored.to(mine.dtype))


def _digest(held: HeldModel) -> str:
    """SHA-256 of the tensors, the config and the tokenizer."""
    found = hashlib.sha256()
    for name, tensor in held.model.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    config = held.model.config.to_json_string(use_diff=True)
    found.update(f"{config}\n{_tokenizer_text(held.tokenizer)}".encode())
    return found.hexdigest()


def _tokenizer_text(tokenizer: PreTrainedTokenizerBase) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    vocabulary = backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items())
    return (
        f"{vocabulary}\n{tokenizer.chat_template}\n{sorted(tokenizer.special_tokens_map.items())}"
    )
