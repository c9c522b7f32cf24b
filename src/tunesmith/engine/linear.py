"""The weights seam: y = x W^T + b, plus s (x A^T) B^T on the rows of each adapter."""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunesmith.engine.autograd import Again, Context, Gradients, Sources, apply, marked
from tunesmith.engine.batch import Dropout, PackedBatch, current_stream
from tunesmith.engine.low_rank import LowRank
from tunesmith.models.four_bit import FourBit, four_bit_of


class SeamLinear(nn.Module):
    """A linear layer of the base, same weight and name, with room for adapters' terms."""

    def __init__(self, linear: nn.Linear, name: str, index: int) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.four_bit: FourBit | None = four_bit_of(linear)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.name, self.index = name, index
        self.terms: dict[str, LowRank] = {}

    def dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """W [D_out, D_in] in ``dtype``, or in its own; dequantised where it is held in 4 bit."""
        if self.four_bit is not None:
            return self.four_bit.dense(dtype)
        return self.weight if dtype is None else self.weight.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[1, T, D_in] -> [1, T, D_out]; raises RuntimeError outside a stream."""
        stream = current_stream()
        flat = x.reshape(-1, self.in_features)
        active = [
            _Active(self.terms[adapter], start, stop, stream.dropout.get(adapter))
            for adapter, start, stop in stream.segments
            if adapter in self.terms
        ]
        again, sources = marked(x)
        if torch.is_grad_enabled() and any(each.term.gate is not None for each in active):
            raise RuntimeError("a routed adapter is for inference, and has no gradients")
        plan = _Plan(tuple(active), stream, self.index, self.dense, again)
        masters = [t for each in active for t in each.term.masters]
        y: Tensor = apply(_Linear, flat, self.weight, self.bias, (plan, sources), *masters)
        return y.view(*x.shape[:-1], self.out_features)


@dataclass(frozen=True, slots=True)
class _Active:
    """A term that applies to rows start..stop of one call, and what keys its dropout."""

    term: LowRank
    start: int
    stop: int
    dropout: Dropout | None

    @property
    def drops(self) -> bool:
        """Whether some inputs are dropped."""
        return bool(self.term.dropout) and self.dropout is not None


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which terms apply to which rows of one call, and where W and x come from."""

    active: tuple[_Active, ...]
    stream: PackedBatch
    module: int
    dense: Callable[[torch.dtype], Tensor]
    again: Again | None  # gives x again; None where x is kept

    def inputs(self, x: Tensor, each: _Active) -> Tensor:
        """The rows of x [T, D_in] that a term sees, with its dropout."""
        rows = x[each.start : each.stop]
        return rows * self.mask(rows, each) if each.drops else rows

    def mask(self, like: Tensor, each: _Active) -> Tensor:
        """Dropout factors [n, D_in] of a term's rows, keyed so that packing does not matter."""
        assert each.dropout is not None
        parts, rate = [], each.term.dropout
        for document in self.stream.documents:
            if each.start <= document.start and document.stop <= each.stop:
                seed, step = each.dropout.seed, each.dropout.step
                key = _seed(seed, step, self.module, document.key, document.offset)
                generator = torch.Generator(like.device).manual_seed(key)
                kept = like.new_empty(len(document), like.shape[1])
                parts.append(kept.bernoulli_(1 - rate, generator=generator))
        return torch.cat(parts).div_(1 - rate)


def _seed(*key: int) -> int:
    data = struct.pack(f"<{len(key)}q", *key)
    return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "little")


class _Linear(torch.autograd.Function):
    """Keeps x once, or what it comes from, and x A^T per term; W is made again in backward.

    Behind the plan stand A, B and the magnitude (or None) of each active term. Without a
    trained A, x is not kept.
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        how: tuple[_Plan, Sources | None],  # and what x is computed from again
        *masters: Tensor | None,  # noqa: ARG004  (the terms hold them; autograd must see them)
    ) -> Tensor:
        plan, sources = how
        y = x @ plan.dense(x.dtype).t()
        kept: list[Tensor | None] = []
        for each in plan.active:
            term = each.term
            xa = term.inner(plan.inputs(x, each))  # [n, R]
            b = term.cast(x.dtype)[1]
            rows = y[each.start : each.stop].addmm_(xa, b.t(), alpha=term.scale)
            factors = term.factors()
            kept += [xa, None if factors is None else rows.clone()]
            if factors is not None:
                rows.mul_(factors)
        if bias is not None:
            y += bias.to(x.dtype)
        held: tuple[Tensor | None, Tensor | None] = (None, None)
        if ctx.needs_input_grad[1] or any(ctx.needs_input_grad[4::3]):
            held = sources or (x, None)
            if plan.again is not None:
                plan.again.users += 1
        ctx.save_for_backward(weight, bias, *held, *kept)
        ctx.plan = plan
        return y

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        _, bias, x, other, *kept = ctx.saved_tensors
        plan: _Plan = ctx.plan
        if plan.again is not None and x is not None:
            x = plan.again.take((x, other)).flatten(0, -2)
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        gbias = g.sum(0) if bias is not None and needs_bias else None
        g, magnitudes = _through_factors(g, plan, kept[1::2])
        gx = g @ plan.dense(g.dtype) if needs_x else None
        grads: list[Tensor | None] = []
        for i, each in enumerate(plan.active):
            term, here = each.term, slice(each.start, each.stop)
            a, b = term.cast(g.dtype)
            gs, rank = g[here], term.rank
            gb = gs @ b  # [n, R]
            if gx is not None and not each.drops:
                gx[here].addmm_(gb, a, alpha=term.scale)
            elif gx is not None:
                through = gb @ a
                gx[here] += through.mul_(plan.mask(through, each)).mul_(term.scale)
            ga: Tensor | None = None
            if ctx.needs_input_grad[4 + 3 * i]:
                inner = gb if gb.shape[1] == rank else gb[:, :rank] + gb[:, rank:]  # gs B
                ga = (inner.t() @ plan.inputs(x, each)).to(term.a.dtype)
                ga.mul_(term.scale)
            xa = kept[2 * i][:, :rank]
            grads += [ga, (gs.t() @ xa).to(term.b.dtype).mul_(term.scale), magnitudes[i]]
        gw = g.t() @ x if needs_weight else None
        return gx, gw, gbias, None, *grads


def _through_factors(
    g: Tensor, plan: _Plan, before: list[Tensor | None]
) -> tuple[Tensor, list[Tensor | None]]:
    """The gradient in front of each term's factors, and that of its magnitude [D_out]."""
    if all(each is None for each in before):
        return g, [None] * len(before)
    g = g.clone()
    grads: list[Tensor | None] = []
    for each, y in zip(plan.active, before, strict=True):
        factors = each.term.factors()
        if factors is None or y is None:
            grads.append(None)
            continue
        rows = g[each.start : each.stop]
        norms = each.term.row_norms()
        grads.append((rows * y).sum(0, dtype=norms.dtype) / norms)
        rows.mul_(factors)
    return g, grads
