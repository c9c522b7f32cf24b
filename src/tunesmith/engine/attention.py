"""Causal attention document by document, in blocks of query rows: no mask [T, T], no padding.

Shapes: q [H, T, Dh], k and v [G, T, Dh]; H / G query heads share a key head. A document of n
rows sees the P positions of its prefix and its own rows up to each row, within the sliding
window where the layer has one. Plain batched products in blocks of rows are as fast as the
flash kernel on a CPU for every length measured and need no mask beyond one block
(docs/log.md). On CUDA all documents are one call where its kernel can compute it (varlen.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tunesmith.core.errors import ModelError
from tunesmith.engine.autograd import Context, Gradients, apply
from tunesmith.engine.batch import Document, PackedBatch, recomputes_activations
from tunesmith.engine.blocks import Kept, Learned
from tunesmith.engine.decode import Rule, decode
from tunesmith.engine.varlen import admits, attend_at_once

NAME = "tunesmith_packed"
BLOCK_ROWS = 256
# Probabilities of longer rows are recomputed in backward instead of kept.
KEEP_KEYS = 512
NO_STREAM = "The base runs packed streams only; call tunesmith.engine.forward."
IGNORED_ARGUMENTS = frozenset({"position_ids", "use_cache", "cache_position", "output_attentions"})


def packed_attention(  # noqa: PLR0913  (the signature is transformers')
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    stream: PackedBatch | None = None,
    **others: object,
) -> tuple[Tensor, None]:
    """Transformers' attention interface over a stream: [1, H, T, Dh] -> [1, T, H, Dh].

    ``s_aux`` are the sinks [H]. Raises RuntimeError without a stream, ModelError for an argument it
    does not implement.
    """
    if stream is None:
        raise RuntimeError(NO_STREAM)
    unknown = sorted(n for n, v in others.items() if v is not None and n not in IGNORED_ARGUMENTS)
    if attention_mask is not None or dropout or unknown or not getattr(module, "is_causal", True):
        raise ModelError(
            f"{type(module).__name__} needs features that packed attention does not have: "
            f"{', '.join(unknown) or 'a mask, dropout or attention in both directions'}.",
            remedy="This model family is not supported yet.",
        )
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    rule = Rule(layer, scaling, sliding_window, softcap, s_aux)
    q, k, v = (t.squeeze(0) for t in (query, key, value))  # whose backward copies nothing
    out = attend(q, k, v, stream, rule)
    return out.transpose(0, 1)[None], None


# And no function for masks: transformers then makes none, and reads nothing from the device.
ALL_ATTENTION_FUNCTIONS.register(NAME, packed_attention)


def attend(q: Tensor, k: Tensor, v: Tensor, stream: PackedBatch, rule: Rule) -> Tensor:
    """Attention of every document of the stream: [H, T, Dh] -> [H, T, Dh]."""
    decoding = [d for d in stream.documents if _is_decode_row(d)]
    if decoding:
        if len(decoding) != len(stream.documents) or (torch.is_grad_enabled() and q.requires_grad):
            raise RuntimeError("Decode rows do not share a stream with longer documents.")
        return decode(q, k, v, stream, rule)
    if admits(q, stream, rule):
        return attend_at_once(q, k, v, stream, rule)
    blocks = {
        id(block): block
        for document in stream.documents
        for block in document.prefix
        if isinstance(block, Learned)
    }
    learned = [t for b in blocks.values() for t in (b.keys[rule.layer], b.values[rule.layer])]
    order = {name: i for i, name in enumerate(blocks)}
    # A soft cap needs the scores in backward anyway; long rows would use too much memory.
    keys = 0 if rule.softcap is not None or recomputes_activations() else KEEP_KEYS
    plan = _Plan(stream, rule, order, keys)
    return apply(_Attention, q, k, v, plan, rule.sinks, *learned)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one call of the function works on.

    ``order`` numbers the learned blocks by identity; probabilities of at most ``keep_keys`` keys
    are kept, the others recomputed in backward.
    """

    stream: PackedBatch
    rule: Rule
    order: dict[int, int]
    keep_keys: int

    def keeps(self, tile: "_Tile") -> bool:
        """Whether a tile's probabilities are kept."""
        return tile.high - tile.low <= self.keep_keys


@dataclass(frozen=True, slots=True)
class _Tile:
    """Query rows first..last of a document against keys low..high of its chain."""

    first: int
    last: int
    low: int
    high: int
    bias: Tensor  # [last - first, keys - masked_from]: -inf where a key may not be seen, else 0
    masked_from: int  # earlier keys of the tile are seen by all its rows


def _tiles(document: Document, stream: PackedBatch, rule: Rule, like: Tensor) -> list[_Tile]:
    """The tiles of a document, made once per stream, window and number format."""
    key = (len(document), document.offset, rule.window, like.dtype)
    if key not in stream.plans:
        stream.plans[key] = list(_cut(len(document), document.offset, rule.window, like))
    tiles: list[_Tile] = stream.plans[key]
    return tiles


def _cut(length: int, prefix: int, window: int | None, like: Tensor) -> Iterator[_Tile]:
    for first in range(0, length, BLOCK_ROWS):
        last = min(first + BLOCK_ROWS, length)
        low = 0 if window is None else max(0, prefix + first - window + 1)
        high = prefix + last
        masked_from = 0 if window is not None and low + window < high else prefix + first - low
        rows = torch.arange(prefix + first, high, device=like.device)[:, None]
        keys = torch.arange(low + masked_from, high, device=like.device)[None]
        hidden = keys > rows
        if window is not None:
            hidden |= rows - keys >= window
        bias = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
        yield _Tile(first, last, low, high, bias.masked_fill_(hidden, -torch.inf), masked_from)


def _probabilities(q: Tensor, k: Tensor, tile: _Tile, rule: Rule) -> tuple[Tensor, Tensor | None]:
    """Probabilities [G, rep * n, keys] of a tile from scaled queries and, with a soft cap, the
    slope d scores / d products. The sinks' are a further column.
    """
    groups, rows, _ = q.shape
    scores = torch.bmm(q, k.transpose(1, 2))
    slope: Tensor | None = None
    if rule.softcap is not None:
        scores.div_(rule.softcap).tanh_()
        slope = 1 - scores * scores
        scores.mul_(rule.softcap)
    n = tile.last - tile.first
    scores.view(groups, rows // n, n, -1)[..., tile.masked_from :] += tile.bias
    if rule.sinks is not None:
        sinks = rule.sinks.detach().to(scores.dtype).repeat_interleave(n).view(groups, rows, 1)
        scores = torch.cat([scores, sinks], -1)
    return torch.softmax(scores, -1), slope


class _Attention(torch.autograd.Function):
    """Attention over a stream with its own backward: slices without full-size zero gradients."""

    @staticmethod
    def forward(
        ctx: Context,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        plan: _Plan,
        sinks: Tensor | None,  # noqa: ARG004  (the rule holds them; autograd must see them)
        *learned: Tensor,
    ) -> Tensor:
        stream, rule = plan.stream, plan.rule
        k, v = k.contiguous(), v.contiguous()
        out = q.new_empty(q.shape[1], q.shape[0], q.shape[2]).transpose(0, 1)  # rows together
        kept: list[Tensor] = []
        for document in stream.documents:
            keys, values = _chain(document, k, v, rule.layer)
            if document.keep is not None:
                _keep(document, keys, values, rule.layer)
            for tile in _tiles(document, stream, rule, q):
                rows = slice(document.start + tile.first, document.start + tile.last)
                seen = slice(tile.low, tile.high)
                qt = _grouped(q[:, rows], len(k)) * rule.scale
                p, _ = _probabilities(qt, keys[:, seen], tile, rule)
                weights = p[..., : tile.high - tile.low]  # without that of the sinks
                out[:, rows] = torch.bmm(weights, values[:, seen]).view_as(out[:, rows])
                if plan.keeps(tile):
                    kept.append(p)
        ctx.save_for_backward(q, k, v, *learned, *kept)
        ctx.plan = plan
        return out

    @staticmethod
    def backward(ctx: Context, g_out: Tensor) -> Gradients:
        plan: _Plan = ctx.plan
        stream, rule = plan.stream, plan.rule
        q, k, v, *rest = ctx.saved_tensors
        learned, kept = rest[: 2 * len(plan.order)], iter(rest[2 * len(plan.order) :])
        gq = torch.empty_like(q)
        gk, gv = torch.zeros_like(k), torch.zeros_like(v)
        g_learned = [torch.zeros_like(t) for t in learned]
        wide = torch.promote_types(q.dtype, torch.float32)
        g_sinks = None if rule.sinks is None else q.new_zeros(len(q), dtype=wide)
        for document in stream.documents:
            keys, values = _chain(document, k, v, rule.layer)
            targets = _targets(document, (gk, gv), g_learned, plan.order)
            for tile in _tiles(document, stream, rule, q):
                rows = slice(document.start + tile.first, document.start + tile.last)
                seen = slice(tile.low, tile.high)
                qt, gt = _grouped(q[:, rows], len(k)) * rule.scale, _grouped(g_out[:, rows], len(k))
                if plan.keeps(tile):
                    p, slope = next(kept), None
                else:
                    p, slope = _probabilities(qt, keys[:, seen], tile, rule)
                gs = torch.bmm(gt, values[:, seen].transpose(1, 2))
                if g_sinks is not None:
                    gs = nn.functional.pad(gs, (0, 1))
                gs = torch._softmax_backward_data(gs, p, -1, p.dtype)
                if g_sinks is not None:
                    g_sinks += gs[..., -1].reshape(len(q), -1).sum(1, dtype=g_sinks.dtype)
                    gs, p = gs[..., :-1], p[..., :-1]
                if slope is not None:
                    gs.mul_(slope)
                gq[:, rows] = torch.bmm(gs, keys[:, seen]).mul_(rule.scale).view_as(gq[:, rows])
                _add_(targets, tile.low, torch.bmm(gs.transpose(1, 2), qt), 0)
                _add_(targets, tile.low, torch.bmm(p.transpose(1, 2), gt), 1)
        return gq, gk, gv, None, g_sinks, *g_learned


def _grouped(t: Tensor, groups: int) -> Tensor:
    """[H, n, Dh] -> [G, (H / G) n, Dh]: the query heads of one key head under each other."""
    return t.reshape(groups, -1, t.shape[-1])


def _chain(document: Document, k: Tensor, v: Tensor, layer: int) -> tuple[Tensor, Tensor]:
    """Keys and values of the prefix and the document itself, [G, P + n, Dh]."""
    own = (k[:, document.start : document.stop], v[:, document.start : document.stop])
    if not document.prefix:
        return own
    parts = [block.tensors(layer, k, v) for block in document.prefix] + [own]
    return torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 1)


def _keep(document: Document, keys: Tensor, values: Tensor, layer: int) -> None:
    """Write the chain into the document's slot; what it already holds stays unchanged."""
    assert document.keep is not None
    cache, slot = document.keep
    start = document.keep_from
    cache.write_(layer, slot, start, (keys[:, start:], values[:, start:]))


def _targets(
    document: Document, stream: tuple[Tensor, Tensor], learned: list[Tensor], order: dict[int, int]
) -> list[tuple[int, tuple[Tensor, Tensor] | None]]:
    """Where the gradients of the chain's parts go: (length, gradient views or None)."""
    parts: list[tuple[int, tuple[Tensor, Tensor] | None]] = []
    for block in document.prefix:
        if id(block) in order:
            i = 2 * order[id(block)]
            parts.append((block.length, (learned[i], learned[i + 1])))
        elif isinstance(block, Kept):
            parts.append((block.length, None))
        else:
            parts.append((block.length, block.tensors(0, *stream)))
    own = slice(document.start, document.stop)
    return [*parts, (len(document), (stream[0][:, own], stream[1][:, own]))]


def _add_(
    targets: list[tuple[int, tuple[Tensor, Tensor] | None]], low: int, grad: Tensor, which: int
) -> None:
    """Add the gradient of chain positions low.. [G, n, Dh] to the parts that they belong to."""
    start, high = 0, low + grad.shape[1]
    for length, part in targets:
        a, b = max(low, start), min(high, start + length)
        if part is not None and a < b:
            part[which][:, a - start : b - start] += grad[:, a - low : b - low]
        start += length


def _is_decode_row(document: Document) -> bool:
    """One token after a kept history, itself kept: the shape of a generation step."""
    return len(document) == 1 and len(document.prefix) == 1 and document.continues
