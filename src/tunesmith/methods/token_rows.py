"""New tokens: rows of embedding and head that are trained beside a method, in PEFT's format.

PEFT's name says delta, but whole rows are stored (its TrainableTokensLayer). A new token starts as
the mean of the rows of the pieces that its text was before.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.engine.forward import Engine
from tunesmith.engine.vocabulary import TokenRows
from tunesmith.methods.adapter import PREFIX, Changes, NewTokens

SUFFIX = ".token_adapter.trainable_tokens_delta"
CONFIG_KEY = "trainable_token_indices"


def attach(engine: Engine, tokens: NewTokens, *, name: str) -> dict[str, nn.Parameter]:
    """Put the rows of ``tokens`` into the vocabulary of adapter ``name``; them, by PEFT's names."""
    if not tokens:
        return {}
    _require_rows(engine, max(tokens))
    embedding, head = modules_of(engine)
    inputs = _start(engine.embedding.weight, tokens)
    outputs = inputs if engine.tied else _start(engine.head_weight, tokens)
    engine.vocabularies[name] = TokenRows(torch.tensor(list(tokens)), inputs, outputs)
    rows = {f"{PREFIX}{embedding}{SUFFIX}": inputs}
    return rows if engine.tied else rows | {f"{PREFIX}{head}{SUFFIX}": outputs}


def _require_rows(engine: Engine, highest: int) -> None:
    """Raise ConfigError where the base adds something by token that it lacks for this id."""
    rows = engine.layer_vocabulary
    if rows is not None and highest >= rows:
        raise ConfigError(
            f"This base has inputs by layer for token ids up to {rows - 1}, and the new tokens "
            f"reach {highest}.",
            remedy="Omit method.new_tokens, or name tokens that the tokenizer has but no text "
            "uses, such as <unused0>.",
        )


def _start(weight: Tensor, tokens: NewTokens) -> nn.Parameter:
    """The mean rows [K, D] of each token's pieces; zeros without pieces."""
    rows = torch.zeros(len(tokens), weight.shape[1], device=weight.device)
    for row, pieces in zip(rows, tokens.values(), strict=True):
        if pieces:
            row.copy_(weight.detach()[list(pieces)].float().mean(0))
    return nn.Parameter(rows)


def modules_of(engine: Engine) -> tuple[str, str]:
    """The dotted names of embedding and head."""
    names = {module: name for name, module in engine.model.named_modules()}
    return names[engine.embedding], names[engine.model.get_output_embeddings()]


def to_peft(engine: Engine, name: str) -> dict[str, list[int]] | None:
    """PEFT's `trainable_token_indices` of an adapter; None without tokens of its own."""
    tokens = engine.vocabularies.get(name)
    if tokens is None:
        return None
    embedding, head = (module.rpartition(".")[2] for module in modules_of(engine))
    modules = (embedding,) if engine.tied else (embedding, head)
    return {module: tokens.ids.tolist() for module in modules}


def ids_of(config: Mapping[str, object]) -> dict[int, Sequence[int]]:
    """The tokens that an adapter_config.json names, without a start; AdapterError where unread."""
    lists = _lists(config).values()
    if any(each != next(iter(lists)) for each in lists):
        raise AdapterError(
            f"adapter_config.json: {CONFIG_KEY} names other tokens for the head than for the "
            "embedding; only the same for both can be used."
        )
    return dict.fromkeys(next(iter(lists), []), ())


def _lists(config: Mapping[str, Any]) -> dict[str, list[int]]:
    given = config.get(CONFIG_KEY) or {}
    lists: dict[str, list[int]] = given if isinstance(given, dict) else {"embed_tokens": given}
    ids = [i for each in lists.values() for i in each]
    if not all(isinstance(i, int) and i >= 0 for i in ids):
        raise AdapterError(
            f"adapter_config.json: {CONFIG_KEY} holds a value that is not a token id."
        )
    return lists


def merge(engine: Engine, name: str) -> Changes:
    """An adapter's rows put into embedding and head; nothing without tokens of its own."""
    tokens = engine.vocabularies.get(name)
    if tokens is None:
        return {}
    embedding, head = modules_of(engine)
    changes = {f"{embedding}.weight": partial(put, tokens.ids, tokens.inputs)}
    if not engine.tied:
        changes[f"{head}.weight"] = partial(put, tokens.ids, tokens.outputs)
    return changes


def merge_stored(config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> Changes:
    """``merge`` of a stored adapter; its rows are read when they are merged."""
    ids = torch.tensor(list(ids_of(config)))
    return {
        f"{_module(key)}.weight": partial(_put_stored, ids, tensors, key)
        for key in tensors
        if key.endswith(SUFFIX)
    }


def _put_stored(ids: Tensor, tensors: Mapping[str, Tensor], key: str, weight: Tensor) -> Tensor:
    return put(ids, tensors[key].float(), weight)


def put(ids: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """[V, D] with the rows [K, D] at ``ids``; longer where an id is V or more.

    An id below them that neither has gets zeros: no text contains that token.
    """
    more = max(0, int(ids.max()) + 1 - len(weight))
    wide = nn.functional.pad(weight, (0, 0, 0, more))
    return wide.index_copy(0, ids, rows.detach().to(weight))


def _module(key: str) -> str:
    return key.removeprefix(PREFIX).removesuffix(SUFFIX)


def misfits(engine: Engine, key: str, tensor: Tensor) -> list[str]:
    """What of a stored tensor does not fit the base."""
    module = _module(key)
    width = engine.embedding.weight.shape[1]
    if module not in modules_of(engine)[: 1 if engine.tied else 2]:
        return [f"{module} is not its embedding or head"]
    if tensor.dim() != 2 or tensor.shape[1] != width:
        return [f"{key} has shape {list(tensor.shape)}, the embedding's width is {width}"]
    return []
