"""The weights seam: a linear layer of the base, with the terms of adapters on their own rows.

For one adapter it is `methods.lora.plain_forward`, with the gradients written out.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tunesmith.engine.autograd import Context, Gradients, Recompute, Sources, apply, marked
from tunesmith.engine.batch import PackedBatch, current_stream
from tunesmith.engine.joined_terms import JoinedTerms, join
from tunesmith.engine.shard import whole
from tunesmith.engine.term import Term, changes
from tunesmith.models.four_bit import FourBit, four_bit_of


class SeamLinear(nn.Module):
    """A linear layer of the base, same weight and name, with room for adapters' terms."""

    def __init__(self, linear: nn.Linear, name: str, index: int) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        found = four_bit_of(linear)
        self.quant_state = None if found is None else found.state
        if found is not None:  # a plain parameter can be sharded
            self.weight = nn.Parameter(found.codes, requires_grad=False)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.name, self.index = name, index
        self.experts = None  # one matrix, unlike a stack
        self.terms: dict[str, Term] = {}
        self._joined: JoinedTerms | None = None  # of the last call that joined some
        self._last: tuple[object, list[TermRows]] | None = (
            None  # of which rows, and its other parts
        )

    @property
    def is_four_bit(self) -> bool:
        """Whether its weight is 4-bit codes."""
        return self.quant_state is not None

    @property
    def four_bit(self) -> FourBit | None:
        """Its codes, read when they are used: a sharded layer has them all only then."""
        state = self.quant_state
        return None if state is None else FourBit(whole(self.weight), state)

    def dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """W [D_out, D_in] in ``dtype``, or in its own; dequantized from 4-bit codes.

        Of a sharded layer, outside its forward and backward, on all ranks at once.
        """
        if (codes := self.four_bit) is not None:
            return codes.dense(dtype)
        weight = whole(self.weight)
        return weight if dtype is None else weight.to(dtype)

    def product(self, x: Tensor, *, exact: bool) -> Tensor:
        """x W^T [n, D_out] of x [n, D_in]; unless ``exact``, of 4-bit codes as is fastest.

        Only `dense` rounds weights as backward does.
        """
        if not exact and (codes := self.four_bit) is not None and codes.has_product(x):
            return codes.product(x)
        return x @ self.dense(x.dtype).t()

    def forward(self, x: Tensor) -> Tensor:
        """[1, T, D_in] -> [1, T, D_out]; raises RuntimeError outside a stream."""
        flat, stream = x.reshape(-1, self.in_features), current_stream()
        exact = torch.is_grad_enabled()
        product = partial(self.product, exact=exact)
        if not exact:
            parts, joined = self._together(flat, stream)
            y, _ = Call(product, self.dense, parts, joined).compute(flat, self.bias, stream)
            return y.view(*x.shape[:-1], self.out_features)
        parts = self._parts(stream)
        recompute, sources = marked(x)
        how = Call(product, self.dense, parts, None, recompute), sources
        masters = [master for part in parts for master in part.term.masters]
        y = apply(_Linear, flat, self.weight, self.bias, how, *masters)
        return y.view(*x.shape[:-1], self.out_features)

    def _together(
        self, x: Tensor, stream: PackedBatch
    ) -> "tuple[list[TermRows], JoinedTerms | None]":
        """Without gradients: what some terms add in one, and the others, as at the last call where
        that was of the same rows.
        """
        if not self.terms:
            return [], None
        if stream.dropout:
            return self._parts(stream), None
        key = stream.segments, x.dtype, changes()
        if self._last is None or self._last[0] != key:
            joined = join(self._joined, self.terms, stream, x)
            if joined is None:
                return self._parts(stream), None
            self._joined, self._last = joined, (key, self._parts(stream, joined.copies))
        return self._last[1], self._joined

    def _parts(self, stream: PackedBatch, joined: Container[str] = ()) -> "list[TermRows]":
        """The terms of the stream's adapters, less what is ``joined``."""
        parts = []
        for adapter, start, stop in stream.segments:
            if (term := self.terms.get(adapter or "")) is not None:
                if adapter in joined and term.output is None and term.input is None:
                    continue
                rows = slice(start, stop)
                mask = stream.mask(adapter, rows, module=self.index, rate=term.dropout)
                parts.append(TermRows(term, rows, mask, adapter in joined))
        return parts


@dataclass(frozen=True, slots=True)
class TermRows:
    """A term on its rows of one call; ``mask`` makes their dropout factors [n, D_in].

    ``joined``: its B A is added with those of others.
    """

    term: Term
    rows: slice
    mask: Callable[[Tensor], Tensor] | None
    joined: bool = False

    def add_(self, y: Tensor, x: Tensor, bias: Tensor | None) -> tuple[Tensor | None, ...]:
        """Add the term to its rows of y and scale them; x A^T [n, R] and what was scaled."""
        term, rows, xa, h = self.term, y[self.rows], None, None
        if term.a is not None and not self.joined:
            a, b = term.cast(x.dtype)
            xa = self.dropped(x) @ a.t()
            rows.addmm_(xa, b.t(), alpha=term.scale)
        if (factors := term.factors()) is not None:
            h = rows.clone()  # [n, D_out]
            rows.mul_(factors)
            if term.whole and bias is not None:
                rows += ((factors - 1) * bias).to(x.dtype)
        return xa, h

    def dropped(self, x: Tensor) -> Tensor:
        """d(x) [n, D_in] of its rows of x [T, D_in]."""
        rows = x[self.rows]
        return rows if self.mask is None else rows * self.mask(rows)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer: what multiplies by W^T, and gives W, terms, how x is recomputed."""

    product: Callable[[Tensor], Tensor]
    dense: Callable[[torch.dtype], Tensor]
    parts: list[TermRows]
    joined: JoinedTerms | None = None  # only without gradients
    recompute: Recompute | None = None  # None where x is kept

    def compute(
        self, x: Tensor, bias: Tensor | None, stream: PackedBatch
    ) -> "tuple[Tensor, list[Tensor | None]]":
        """y [T, D_out] of x [T, D_in], and of each part x A^T and what o scales."""
        scaled = x.clone() if any(part.term.input is not None for part in self.parts) else x
        for part in self.parts:
            if part.term.input is not None:
                scaled[part.rows] *= part.term.input.detach().to(x.dtype)
        y = self.product(scaled)
        if self.joined is not None:
            self.joined.add_(y, x, stream)
        kept = [each for part in self.parts for each in part.add_(y, x, bias)]
        if bias is not None:
            y += bias.to(x.dtype)
        return y, kept


class _Linear(torch.autograd.Function):
    """Keeps x once, or what it comes from; of each term x A^T and what o scales; W never.

    Four masters of each term follow ``how``: A, B, ``output``, i.
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,  # [T, D_in]
        weight: Tensor,  # [D_out, D_in], or 4-bit codes
        bias: Tensor | None,  # [D_out]
        how: tuple[Call, Sources | None],  # and what x is recomputed from
        *masters: Tensor | None,  # noqa: ARG004  (the terms hold them; autograd must see them)
    ) -> Tensor:
        call, sources = how
        y, kept = call.compute(x, bias, current_stream())
        held: tuple[Tensor | None, Tensor | None] = (None, None)
        _, needs_weight, _, _, *needs = ctx.needs_input_grad
        if needs_weight or any(needs[0::4]) or any(needs[3::4]):
            held = sources or (x, None)
            if call.recompute is not None:
                call.recompute.users += 1
        ctx.save_for_backward(weight, bias, *held, *kept)
        ctx.plan = call
        return y

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:  # g [T, D_out]
        _, bias, x, other, *kept = ctx.saved_tensors
        call: Call = ctx.plan
        if call.recompute is not None and x is not None:
            x = call.recompute.take((x, other)).flatten(0, -2)
        needs_x, needs_weight, needs_bias, _, *needs = ctx.needs_input_grad
        gbias = g.sum(0) if bias is not None and needs_bias else None
        gw = g.t() @ x if needs_weight else None  # beside no term: the base itself is trained
        g, outputs = _through_factors(g, call.parts, kept[1::2], bias)
        gx = g @ call.dense(g.dtype) if needs_x or any(needs[3::4]) else None  # [T, D_in]
        grads: list[Tensor | None] = []
        for i, part in enumerate(call.parts):
            term, rows = part.term, part.rows
            ga = gb = gi = None
            if gx is not None and term.input is not None:
                gi = (gx[rows] * x[rows]).sum(0, dtype=term.input.dtype)
                gx[rows] *= term.input.detach().to(gx.dtype)
            if term.a is not None:
                a, b = term.cast(g.dtype)
                inner, rank = g[rows] @ b, term.rank  # [n, R]
                if gx is not None and part.mask is None:
                    gx[rows].addmm_(inner, a, alpha=term.scale)
                elif gx is not None and part.mask is not None:
                    through = inner @ a
                    gx[rows] += through.mul_(part.mask(through)).mul_(term.scale)
                if needs[4 * i]:
                    # With an offset A is in both halves of the product, B in the first.
                    own = inner if inner.shape[1] == rank else inner[:, :rank] + inner[:, rank:]
                    ga = _master_gradient(own, part.dropped(x), term.a.dtype).mul_(term.scale)
                gb = _master_gradient(g[rows], kept[2 * i][:, :rank], term.a.dtype)
                gb.mul_(term.scale)
            grads += [ga, gb, outputs[i], gi]
        return gx, gw, gbias, None, *grads


def _master_gradient(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """left^T right of [n, K] and [n, L] in a master's format: on CUDA as it was summed, elsewhere
    after rounding to the factors'.
    """
    if left.device.type == "cuda" and dtype == torch.float32 and left.dtype.itemsize == 2:
        return torch.mm(left.t(), right, out_dtype=dtype)
    return (left.t() @ right).to(dtype)


def _through_factors(
    g: Tensor, parts: list[TermRows], scaled: list[Tensor | None], bias: Tensor | None
) -> tuple[Tensor, list[Tensor | None]]:
    """The gradient [T, D_out] in front of each term's o, and that of its ``output`` [D_out]."""
    grads: list[Tensor | None] = []
    if any(h is not None for h in scaled):
        g = g.clone()
    for part, h in zip(parts, scaled, strict=True):
        term, rows = part.term, g[part.rows]
        grads.append(None)
        if h is not None and (factors := term.factors()) is not None:
            h = h + bias.to(h.dtype) if term.whole and bias is not None else h
            grads[-1] = term.output_gradient((rows * h).sum(0, dtype=factors.dtype))
            rows.mul_(factors)
    return g, grads
