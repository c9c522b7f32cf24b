"""Mixture of experts: the stream's tokens grouped by expert, with adapters' terms on their rows.

Shapes: E experts, K chosen for each token, S = T K pairs of a token and an expert, sorted by expert
and then by token; F is the width between the two products. The weights of all experts of a layer
are one parameter, a stack [E, D_out, D_in], or [E, D_in, D_out] where the family has it so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from tunesmith.core.errors import ModelError
from tunesmith.engine.autograd import Context, Gradients, apply
from tunesmith.engine.batch import PackedBatch, current_stream
from tunesmith.engine.groups import RowGroups, outer, product
from tunesmith.engine.term import Term

NAME = "tunesmith_grouped"
_SEAMS = "tunesmith_seams"  # of a module of experts: those of its two stacks, up and down


@dataclass(slots=True, eq=False)
class SeamExperts:
    """One stack of a layer's experts, with room for adapters' terms."""

    module: nn.Module
    attribute: str
    name: str  # of the parameter, in the model
    terms: dict[str, Term] = field(default_factory=dict)

    @property
    def weight(self) -> Tensor:
        """The parameter, as the family has it."""
        weight: Tensor = getattr(self.module, self.attribute)
        return weight

    @property
    def bias(self) -> Tensor | None:
        """[E, D_out]."""
        return getattr(self.module, f"{self.attribute}_bias", None)

    @property
    def experts(self) -> int:
        """E."""
        return len(self.weight)

    @property
    def in_features(self) -> int:
        """D_in of every expert."""
        return self.oriented(self.weight).shape[2]

    @property
    def out_features(self) -> int:
        """D_out of every expert."""
        return self.oriented(self.weight).shape[1]

    def dense(self, dtype: torch.dtype) -> Tensor:
        """W of every expert in ``dtype``, [E, D_out, D_in]."""
        return self.oriented(self.weight.to(dtype))

    def oriented(self, stack: Tensor) -> Tensor:
        """[E, D_out, D_in] from the family's layout, or back."""
        return stack.transpose(1, 2) if self.module.is_transposed else stack

    def merged(self, term: Term, weight: Tensor) -> Tensor:
        """W + s B A of every expert, of a stack in fp32."""
        a, b = (part.to(weight) for part in term.split())
        return self.oriented(torch.baddbmm(self.oriented(weight), b, a, alpha=term.scale))


def seams_of(model: nn.Module) -> dict[str, SeamExperts]:
    """The stacks of a model's experts by their names, each ready for terms.

    Raises ModelError for experts that are computed in another way.
    """
    found: dict[str, SeamExperts] = {}
    for name, module in model.named_modules():
        if not hasattr(module, "is_concatenated"):  # transformers sets it on experts it dispatches
            continue
        if module.has_post_expert_norm or module._is_expert_parallel:
            raise ModelError(
                f"{type(module).__name__} has experts with norms of their own, or in parallel.",
                remedy="This model family is not supported yet.",
            )
        names = ("gate_up_proj" if module.has_gate else "up_proj", "down_proj")
        pair = [SeamExperts(module, each, f"{name}.{each}") for each in names]
        setattr(module, _SEAMS, pair)
        found |= {seam.name: seam for seam in pair}
    return found


def packed_experts(module: nn.Module, hidden: Tensor, chosen: Tensor, weights: Tensor) -> Tensor:
    """Transformers' experts interface over the current stream: [T, D] -> [T, D].

    ``chosen`` and ``weights`` [T, K] are the experts of each token and what they count. Raises
    RuntimeError outside a stream.
    """
    plan = _Dispatch.of(module, chosen, current_stream())
    base = [t for side in (plan.up, plan.down) for t in (side.seam.weight, side.seam.bias)]
    masters = [m for side in (plan.up, plan.down) for part in side.parts for m in part.masters]
    return apply(_Experts, hidden, weights, plan, *base, *masters)


ALL_EXPERTS_FUNCTIONS.register(NAME, packed_experts)


@dataclass(frozen=True, slots=True)
class _StackTerm:
    """A term on its pairs: ``rows`` of the S, None where they are all, in ``groups``."""

    term: Term
    rows: Tensor | None
    groups: RowGroups

    @property
    def masters(self) -> tuple[Tensor, Tensor]:
        """A and B."""
        assert self.term.a is not None
        assert self.term.b is not None
        return self.term.a, self.term.b

    def of(self, x: Tensor) -> Tensor:
        """Its rows of x [S, D]."""
        return x if self.rows is None else x[self.rows]

    def add_(self, x: Tensor, own: Tensor) -> None:
        """Add s times ``own`` to its rows of x [S, D]."""
        if self.rows is None:
            x.add_(own, alpha=self.term.scale)
        else:
            x.index_add_(0, self.rows, own, alpha=self.term.scale)

    def gradients(
        self, g: Tensor, x: Tensor, low: Tensor, gx: Tensor | None
    ) -> tuple[Tensor | None, Tensor]:
        """Of A and B, from those of y [S, D_out]; what passes through B A is added to ``gx``."""
        (master, _), (a, b) = self.masters, self.term.cast(g.dtype)
        own = self.of(g)
        inner = product(own, b.transpose(1, 2), self.groups)  # [n, R]
        if gx is not None:
            self.add_(gx, product(inner, a.transpose(1, 2), self.groups))
        ga = outer(inner, self.of(x), self.groups) if master.requires_grad else None
        gb = outer(own, low, self.groups)  # [E, D_out, R]
        scaled = [
            None if each is None else each.to(master.dtype).mul_(self.term.scale)
            for each in (None if ga is None else ga.flatten(0, 1), gb.permute(1, 2, 0).flatten(1))
        ]
        assert scaled[1] is not None
        return scaled[0], scaled[1]


@dataclass(frozen=True, slots=True)
class _StackProduct:
    """One of the two products: its stack, and the terms of this call."""

    seam: SeamExperts
    parts: list[_StackTerm]

    def forward(self, x: Tensor, groups: RowGroups) -> tuple[Tensor, list[Tensor]]:
        """W x and the terms on their rows, [S, D_in] -> [S, D_out]; and A x of every part."""
        y, lows = product(x, self.seam.dense(x.dtype), groups), []
        for part in self.parts:
            a, b = part.term.cast(x.dtype)  # [E, R, D_in], [E, D_out, R]
            lows.append(product(part.of(x), a, part.groups))
            part.add_(y, product(lows[-1], b, part.groups))
        return y, lows

    def backward(
        self, g: Tensor, x: Tensor, lows: Sequence[Tensor], groups: RowGroups, *, needs_x: bool
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        """The gradients of x, where it needs one, and of every part's masters."""
        gx = None
        if needs_x:
            gx = product(g, self.seam.dense(g.dtype).transpose(1, 2), groups)
        pairs = zip(self.parts, lows, strict=True)
        return gx, [grad for part, low in pairs for grad in part.gradients(g, x, low, gx)]

    def base(
        self, g: Tensor, x: Tensor, plan: "_Dispatch", needs: Sequence[bool], weights: Tensor | None
    ) -> list[Tensor | None]:
        """The gradients of the stack and its bias, which counts ``weights`` times in each pair."""
        stack = bias = None
        if needs[0]:
            stack = self.seam.oriented(outer(g, x, plan.groups))
        if needs[1] and self.seam.bias is not None:
            counted = g if weights is None else g * weights.to(g.dtype)
            bias = g.new_zeros(self.seam.bias.shape).index_add_(0, plan.chosen, counted)
        return [stack, bias]


@dataclass(frozen=True)
class _Dispatch:
    """How one call groups the stream, and the terms of its two products."""

    module: Any  # transformers does not type its modules
    up: _StackProduct
    down: _StackProduct
    order: Tensor  # [S]: of each sorted pair, token K + choice
    chosen: Tensor  # [S]: of each sorted pair, its expert
    choices: int  # K
    groups: RowGroups

    @classmethod
    def of(cls, module: nn.Module, chosen: Tensor, stream: PackedBatch) -> "_Dispatch":
        """The plan for the stream's tokens and their experts [T, K]."""
        seams: list[SeamExperts] = getattr(module, _SEAMS)
        experts, choices = seams[0].experts, chosen.shape[1]
        ids, order = torch.sort(chosen.reshape(-1), stable=True)
        groups = RowGroups.of(ids, experts)
        parts: list[list[_StackTerm]] = [[], []]
        for adapter in dict.fromkeys(a for a, _, _ in stream.segments if a):
            if not any(adapter in seam.terms for seam in seams):
                continue
            rows = _rows_of(adapter, stream, order // choices)
            own = groups if rows is None else RowGroups.of(ids[rows], experts)
            for seam, each in zip(seams, parts, strict=True):
                if adapter in seam.terms:
                    each.append(_StackTerm(seam.terms[adapter], rows, own))
        up, down = (_StackProduct(*each) for each in zip(seams, parts, strict=True))
        return cls(module, up, down, order, ids, choices, groups)

    @cached_property
    def tokens(self) -> Tensor:
        """[S]: the token of each sorted pair."""
        return self.order // self.choices

    def sorted(self, weights: Tensor) -> Tensor:
        """What each sorted pair counts, [T, K] -> [S, 1]."""
        return weights.reshape(-1)[self.order].unsqueeze(1)

    def gated(self, h: Tensor) -> Tensor:
        """What is between the two products, [S, F] of W1 x."""
        unit: Tensor = self.module._apply_gate(h) if self.module.has_gate else self.module.act_fn(h)
        return unit

    def summed(self, pairs: Tensor) -> Tensor:
        """The sum over each token's experts, [S, D] -> [T, D]."""
        back = torch.empty_like(self.order)
        back[self.order] = torch.arange(len(self.order), device=self.order.device)
        return pairs[back].view(-1, self.choices, pairs.shape[1]).sum(1)


def _rows_of(adapter: str, stream: PackedBatch, tokens: Tensor) -> Tensor | None:
    """The sorted pairs of an adapter's tokens; None for all."""
    if all(each == adapter for each, _, _ in stream.segments):
        return None
    mine = torch.zeros(len(stream.ids), dtype=torch.bool, device=tokens.device)
    for each, start, stop in stream.segments:
        mine[start:stop] = each == adapter
    return mine[tokens].nonzero()[:, 0]


class _Experts(torch.autograd.Function):
    """y = sum over the chosen e of W2_e (w_e gate(W1_e x + b1_e)) + w_e b2_e, and terms of both.

    It keeps x, w, W1 x and each term's A x; what is between the products is recomputed. Stack and
    bias of either product follow ``plan``, then A and B of the parts.
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Tensor,  # [T, D]
        weights: Tensor,  # [T, K]
        plan: _Dispatch,
        *tensors: Tensor | None,  # noqa: ARG004  (the plan holds them; autograd must see them)
    ) -> Tensor:
        w = plan.sorted(weights)
        h, lows = plan.up.forward(x[plan.tokens], plan.groups)
        if (bias := plan.up.seam.bias) is not None:
            h += bias.to(h.dtype)[plan.chosen]
        y, more = plan.down.forward((plan.gated(h) * w).to(x.dtype), plan.groups)
        if (bias := plan.down.seam.bias) is not None:
            y += (bias.to(w.dtype)[plan.chosen] * w).to(y.dtype)
        ctx.save_for_backward(x, weights, h, *lows, *more)
        ctx.plan = plan
        return plan.summed(y)

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:  # g [T, D]
        plan: _Dispatch = ctx.plan
        x, weights, h, *lows = ctx.saved_tensors
        needs_x, needs_weights, _, *needs = ctx.needs_input_grad
        w, count = plan.sorted(weights), len(plan.up.parts)
        with torch.enable_grad():
            h = h.detach().requires_grad_()
            unit = plan.gated(h)
        between, pairs = unit.detach(), g[plan.tokens]
        scaled = (between * w).to(g.dtype)
        gs, own_down = plan.down.backward(pairs, scaled, lows[count:], plan.groups, needs_x=True)
        assert gs is not None
        base_down = plan.down.base(pairs, scaled, plan, needs[2:4], w)
        gw = None
        if needs_weights:
            share = (gs * between).sum(1, keepdim=True)
            if (bias := plan.down.seam.bias) is not None:
                share += (pairs * bias.to(g.dtype)[plan.chosen]).sum(1, keepdim=True)
            gw = torch.empty_like(weights).view(-1, 1)
            gw[plan.order] = share.to(gw.dtype)
        (gh,) = torch.autograd.grad(unit, h, (gs * w).to(unit.dtype))
        rows = x[plan.tokens]
        gx, own_up = plan.up.backward(gh, rows, lows[:count], plan.groups, needs_x=needs_x)
        base_up = plan.up.base(gh, rows, plan, needs[:2], None)
        return (
            None if gx is None else plan.summed(gx),
            None if gw is None else gw.view_as(weights),
            None,
            *base_up,
            *base_down,
            *own_up,
            *own_down,
        )
