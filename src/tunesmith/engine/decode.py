"""Attention of decode rows: one token each after a kept history, in one masked call per cache.

The rule of a layer is here too: longer documents (attention.py) and decode rows share it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunesmith.engine.batch import PackedBatch
from tunesmith.engine.blocks import KeyValueCache
from tunesmith.engine.device import send


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """What one layer's attention does, for documents and for decode rows alike.

    ``sinks`` [H] are scores without a value: each takes its head's share of the probabilities.
    """

    layer: int
    scale: float
    window: int | None
    softcap: float | None
    sinks: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _SlotRows:
    """What every layer with the same window does with the n decode rows of one cache."""

    cache: KeyValueCache
    rows: Tensor | None  # [n]: of the batch, in the order of their slots; None: all of it, as it is
    slots: Tensor  # [n]
    past: Tensor  # [n]: the number of positions before each row
    which: Tensor | slice  # the slots; a slice, which copies nothing, where they are 0..n-1
    seen: slice  # positions that some row sees
    bias: Tensor  # [n, 1, 1, keys]: -inf where a position may not be seen, else 0


def _plan(stream: PackedBatch, rule: Rule, like: Tensor) -> list[_SlotRows]:
    """The rows of each cache; made once per stream, window and number format."""
    key = ("decode", rule.window, like.dtype)
    if key not in stream.plans:
        caches: dict[int, tuple[KeyValueCache, dict[int, int]]] = {}  # its rows by slot
        for row, document in enumerate(stream.documents):
            assert document.keep is not None
            cache, slot = document.keep
            caches.setdefault(id(cache), (cache, {}))[1][slot] = row
        stream.plans[key] = [
            _slot_rows(stream, rule, like, cache, dict(sorted(rows.items())))
            for cache, rows in caches.values()
        ]
    plan: list[_SlotRows] = stream.plans[key]
    return plan


def _slot_rows(
    stream: PackedBatch, rule: Rule, like: Tensor, cache: KeyValueCache, rows: dict[int, int]
) -> _SlotRows:
    count, slots, numbers = len(rows), list(rows), list(rows.values())
    past = stream.on_host.positions[numbers]
    longest = int(past.max()) + 1
    if longest > cache.capacity:
        raise IndexError(f"position {longest} is beyond the cache's {cache.capacity}")
    low = 0 if rule.window is None else max(0, int(past.min()) + 1 - rule.window)
    at, order, before = send([torch.tensor(slots), torch.tensor(numbers), past], like.device)
    index = torch.arange(low, longest, device=like.device)[None]
    hidden = index > before[:, None]  # [n, keys]
    if rule.window is not None:
        hidden |= before[:, None] - index >= rule.window
    bias = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
    return _SlotRows(
        cache=cache,
        rows=None if numbers == list(range(len(stream.documents))) else order,
        slots=at,
        past=before,
        which=slice(count) if slots == list(range(count)) else at,
        seen=slice(low, longest),
        bias=bias.masked_fill_(hidden, -torch.inf)[:, None, None],
    )


def decode(q: Tensor, k: Tensor, v: Tensor, stream: PackedBatch, rule: Rule) -> Tensor:
    """One masked call for the decode rows of each cache: q [H, B, Dh] against their slots."""
    parts = _plan(stream, rule, q)
    out = torch.empty_like(q)
    for part in parts:
        at = part.rows
        if at is None:
            return _decode(q, k, v, part, rule)
        some_q, some_k, some_v = (each.index_select(1, at) for each in (q, k, v))
        out.index_copy_(1, at, _decode(some_q, some_k, some_v, part, rule))
    return out


def _decode(q: Tensor, k: Tensor, v: Tensor, part: _SlotRows, rule: Rule) -> Tensor:
    heads, batch, width = q.shape
    groups = len(k)
    keys, values = part.cache.keys[rule.layer], part.cache.values[rule.layer]
    keys[part.slots, :, part.past] = k.transpose(0, 1)
    values[part.slots, :, part.past] = v.transpose(0, 1)
    seen_k, seen_v = keys[part.which, :, part.seen], values[part.which, :, part.seen]
    rows = q.transpose(0, 1).reshape(batch, groups, heads // groups, width)
    if rule.softcap is None and rule.sinks is None:
        # it reads the cache in place; products would copy it
        out = nn.functional.scaled_dot_product_attention(
            rows, seen_k, seen_v, attn_mask=part.bias, scale=rule.scale
        )
    else:
        scores = (rows * rule.scale) @ seen_k.transpose(2, 3)
        if rule.softcap is not None:
            scores.div_(rule.softcap).tanh_().mul_(rule.softcap)
        scores.add_(part.bias)
        if rule.sinks is not None:
            sinks = rule.sinks.to(scores.dtype).view(1, groups, -1, 1).expand(batch, -1, -1, -1)
            scores = torch.cat([scores, sinks], -1)
        out = torch.softmax(scores, -1)[..., : seen_k.shape[2]] @ seen_v
    return out.reshape(batch, heads, width).transpose(0, 1)
