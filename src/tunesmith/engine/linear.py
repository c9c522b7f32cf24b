"""The weights seam: y = x W^T + b, plus s (x A^T) B^T on the rows of each adapter."""

import hashlib
import struct
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tunesmith.engine.autograd import Context, Gradients, apply
from tunesmith.engine.batch import PackedBatch
from tunesmith.engine.context import current_stream


@dataclass(slots=True, eq=False)
class LowRank:
    """A term s B A of one adapter beside one linear layer.

    A [R, D_in] and B [D_out, R] are fp32 masters; their copies in the compute dtype are made
    once and again after ``refresh`` (once a step), not at every call.
    """

    a: nn.Parameter
    b: nn.Parameter
    scale: float
    dropout: float = 0.0
    _cast: dict[torch.dtype, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def cast(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """A and B in ``dtype``, detached."""
        if dtype not in self._cast:
            self._cast[dtype] = (self.a.detach().to(dtype), self.b.detach().to(dtype))
        return self._cast[dtype]

    def refresh(self) -> None:
        """Forget the copies, after the masters changed."""
        self._cast.clear()


class SeamLinear(nn.Module):
    """A linear layer of the base, same weight and name, with room for adapters' terms."""

    def __init__(self, linear: nn.Linear, name: str, index: int) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.name, self.index = name, index
        self.terms: dict[str, LowRank] = {}

    def forward(self, x: Tensor) -> Tensor:
        """[1, T, D_in] -> [1, T, D_out]; raises RuntimeError outside a stream."""
        stream = current_stream()
        flat = x.reshape(-1, self.in_features)
        active = [
            (self.terms[adapter], start, stop)
            for adapter, start, stop in stream.segments
            if adapter in self.terms
        ]
        plan = _Plan(tuple(active), stream, self.index)
        masters = [t for term, _, _ in active for t in (term.a, term.b)]
        y: Tensor = apply(_Linear, flat, self.weight, self.bias, plan, *masters)
        return y.view(*x.shape[:-1], self.out_features)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which terms apply to which rows of one call."""

    active: tuple[tuple[LowRank, int, int], ...]
    stream: PackedBatch
    module: int

    def dropped(self, x: Tensor, term: LowRank, start: int, stop: int) -> Tensor:
        """Rows start..stop of x [T, D_in] as the term sees them, with its dropout."""
        rows = x[start:stop]
        if not term.dropout or self.stream.dropout is None:
            return rows
        return rows * self.mask(x, term, start, stop)

    def mask(self, x: Tensor, term: LowRank, start: int, stop: int) -> Tensor:
        """Dropout factors of rows start..stop, keyed so that packing does not matter."""
        assert self.stream.dropout is not None
        parts = []
        for document in self.stream.documents:
            if start <= document.start and document.stop <= stop:
                key = (
                    self.stream.dropout.seed,
                    self.stream.dropout.step,
                    self.module,
                    document.key,
                    document.offset,
                )
                seed = _seed(document.adapter, key)
                generator = torch.Generator(x.device).manual_seed(seed)
                kept = torch.empty(len(document), x.shape[1], device=x.device, dtype=x.dtype)
                parts.append(kept.bernoulli_(1 - term.dropout, generator=generator))
        return torch.cat(parts).div_(1 - term.dropout)


def _seed(adapter: str | None, key: tuple[int, ...]) -> int:
    data = (adapter or "").encode() + struct.pack(f"<{len(key)}q", *key)
    return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "little")


class _Linear(torch.autograd.Function):
    """Keeps x once, and x A^T per term; the copy of W in the compute dtype is never kept."""

    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        plan: _Plan,
        *masters: Tensor,
    ) -> Tensor:
        y = x @ weight.to(x.dtype).t()
        if bias is not None:
            y += bias.to(x.dtype)
        products = []
        for term, start, stop in plan.active:
            a, b = term.cast(x.dtype)
            xa = plan.dropped(x, term, start, stop) @ a.t()  # [n, R]
            y[start:stop].addmm_(xa, b.t(), alpha=term.scale)
            products.append(xa)
        needs_x = any(ctx.needs_input_grad[i] for i in (1, *range(4, 4 + len(masters))))
        ctx.save_for_backward(x if needs_x else None, weight, bias, *products)
        ctx.plan = plan
        return y

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        x, weight, bias, *products = ctx.saved_tensors
        plan: _Plan = ctx.plan
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        gx = g @ weight.to(g.dtype) if needs_x else None
        grads: list[Tensor | None] = []
        for (term, start, stop), xa in zip(plan.active, products, strict=True):
            a, b = term.cast(g.dtype)
            gs = g[start:stop]
            gb = gs @ b  # [n, R]
            drops = bool(term.dropout) and plan.stream.dropout is not None
            if gx is not None and not drops:
                gx[start:stop].addmm_(gb, a, alpha=term.scale)
            elif gx is not None:
                gx[start:stop] += (
                    (gb @ a)
                    .mul_(plan.mask(g.new_empty(0, a.shape[1]), term, start, stop))
                    .mul_(term.scale)
                )
            if x is not None:
                rows = plan.dropped(x, term, start, stop)
                grads += [
                    (gb.t() @ rows).to(term.a.dtype).mul_(term.scale),
                    (gs.t() @ xa).to(term.b.dtype).mul_(term.scale),
                ]
            else:
                grads += [None, None]
        gw = g.t() @ x if needs_weight else None
        gbias = g.sum(0) if bias is not None and needs_bias else None
        return gx, gw, gbias, None, *grads
