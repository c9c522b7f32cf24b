"""Attention of decode rows: one token each after a kept history, all in one masked call.

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
class _DecodePlan:
    """What every layer with the same window does with B decode rows."""

    cache: KeyValueCache
    slots: Tensor  # [B]
    past: Tensor  # [B]: the number of positions before each row
    which: Tensor | slice  # the slots; a slice, which copies nothing, where they are 0..B-1
    seen: slice  # positions that some row sees
    bias: Tensor  # [B, 1, 1, keys]: -inf where a position may not be seen, else 0


def _plan(stream: PackedBatch, rule: Rule, like: Tensor) -> _DecodePlan:
    """Made once per stream, window and number format."""
    key = ("decode", rule.window, like.dtype)
    if key not in stream.plans:
        kept = [d.keep for d in stream.documents if d.keep is not None]
        cache, slots = kept[0][0], [slot for _, slot in kept]
        past = stream.positions
        on_host = stream.on_host.positions
        longest = int(on_host.max()) + 1
        if longest > cache.capacity:
            raise IndexError(f"position {longest} is beyond the cache's {cache.capacity}")
        low = 0 if rule.window is None else max(0, int(on_host.min()) + 1 - rule.window)
        index = torch.arange(low, longest, device=like.device)[None]
        hidden = index > past[:, None]  # [B, keys]
        if rule.window is not None:
            hidden |= past[:, None] - index >= rule.window
        bias = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
        (at,) = send([torch.tensor(slots)], like.device)
        stream.plans[key] = _DecodePlan(
            cache=cache,
            slots=at,
            past=past,
            which=slice(len(slots)) if slots == list(range(len(slots))) else at,
            seen=slice(low, longest),
            bias=bias.masked_fill_(hidden, -torch.inf)[:, None, None],
        )
    plan: _DecodePlan = stream.plans[key]
    return plan


def decode(q: Tensor, k: Tensor, v: Tensor, stream: PackedBatch, rule: Rule) -> Tensor:
    """One masked call for all decode rows: q [H, B, Dh] against their slots of one cache."""
    heads, batch, width = q.shape
    groups = len(k)
    plan = _plan(stream, rule, q)
    keys, values = plan.cache.keys[rule.layer], plan.cache.values[rule.layer]
    keys[plan.slots, :, plan.past] = k.transpose(0, 1)
    values[plan.slots, :, plan.past] = v.transpose(0, 1)
    seen_k, seen_v = keys[plan.which, :, plan.seen], values[plan.which, :, plan.seen]
    rows = q.transpose(0, 1).reshape(batch, groups, heads // groups, width)
    if rule.softcap is None and rule.sinks is None:
        # it reads the cache in place; products would copy it
        out = nn.functional.scaled_dot_product_attention(
            rows, seen_k, seen_v, attn_mask=plan.bias, scale=rule.scale
        )
    else:
        scores = (rows * rule.scale) @ seen_k.transpose(2, 3)
        if rule.softcap is not None:
            scores.div_(rule.softcap).tanh_().mul_(rule.softcap)
        scores.add_(plan.bias)
        if rule.sinks is not None:
            sinks = rule.sinks.to(scores.dtype).view(1, groups, -1, 1).expand(batch, -1, -1, -1)
            scores = torch.cat([scores, sinks], -1)
        out = torch.softmax(scores, -1)[..., : seen_k.shape[2]] @ seen_v
    return out.reshape(batch, heads, width).transpose(0, 1)
