"""The router of a mixture: which experts a token goes to, adapters' terms, and even shares."""

import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from tunesmith.core.errors import ModelError
from tunesmith.engine.autograd import Context, Gradients, apply
from tunesmith.engine.batch import PackedBatch, current_stream
from tunesmith.engine.term import Term


@dataclass(slots=True, eq=False)
class SeamRouter:
    """A router's weight [E, D], with room for adapters' terms; it computes as its class does."""

    module: nn.Module
    name: str  # of the parameter, in the model
    terms: dict[str, Term] = field(default_factory=dict)

    @property
    def experts(self) -> None:
        """None: it is one matrix, unlike a stack."""

    @property
    def weight(self) -> Tensor:
        """The parameter."""
        weight: Tensor = self.module.weight  # type: ignore[assignment]
        return weight

    @property
    def in_features(self) -> int:
        """D."""
        return self.weight.shape[1]

    @property
    def out_features(self) -> int:
        """E."""
        return self.weight.shape[0]

    def merged(self, term: Term, weight: Tensor) -> Tensor:
        """W + s B A, of a weight in fp32."""
        return term.merged(weight)

    def forward(self, x: Tensor, *others: Any) -> Any:
        """What the class gives for every token, of x [.., T, D]: logits, weights, experts.

        ``others`` are of no token, such as a bias of its choice. Raises RuntimeError outside a
        stream.
        """
        x = x.flatten(0, -2)
        parts = [
            self._route(x[start:stop], self.terms.get(adapter or ""), *others)
            for adapter, start, stop in _runs(current_stream().segments, self.terms)
        ]
        if isinstance(parts[0], Tensor):
            return torch.cat(parts)
        found = tuple(map(torch.cat, zip(*parts, strict=True))) if parts[1:] else parts[0]
        return _balanced(found) if current_stream().balance and found[0].requires_grad else found

    def _route(self, x: Tensor, term: Term | None, *others: Any) -> Any:
        weight = self.weight
        if term is not None:
            assert term.a is not None
            assert term.b is not None
            weight = torch.addmm(weight.to(term.a.dtype), term.b, term.a, alpha=term.scale)
        view = copy.copy(self.module)  # the masters may be wider than the stream
        own = {n: None if p is None else p.to(x.dtype) for n, p in view._parameters.items()}
        view._parameters = {**own, "weight": weight.to(x.dtype)}  # type: ignore[dict-item]
        return type(view).forward(view, x, *others)


def balance_loss(logits: Tensor, chosen: Tensor, stream: PackedBatch) -> Tensor:
    """How unevenly each document uses the experts, by ``stream.balance``; logits [T, E].

    A document's part is its adapter's weight x its tokens x E sum_e f_e P_e: f_e the share of its
    choices (``chosen`` [T, K]) that are expert e, P_e the mean probability of e; 1 where all are
    equal. A sum over documents, so that it is the same however they are packed: the sequence-wise
    loss of DeepSeek-V3 (arXiv 2412.19437, section 2.1.2), with probabilities by softmax.
    """
    count, (tokens, experts) = len(stream.documents), logits.shape
    lengths = torch.tensor([len(document) for document in stream.documents], device=logits.device)
    weights = [stream.balance.get(document.adapter, 0.0) for document in stream.documents]
    of = torch.repeat_interleave(lengths, output_size=tokens)
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    means = wide.new_zeros(count, experts).index_add(0, of, wide.softmax(dim=-1))
    shares = torch.zeros_like(means)
    shares.index_put_((of[:, None], chosen), shares.new_ones(()), accumulate=True)
    uneven = experts * (shares * means).sum(dim=-1) / (lengths**2 * chosen.shape[1])
    return (uneven * lengths * wide.new_tensor(weights)).sum()


def _balanced(found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a router gives, whose weights of experts also carry the loss of even shares back.

    Raises ModelError for a router that gives something else than logits, weights and experts.
    """
    if len(found) != len(("logits", "weights", "experts")) or found[2].is_floating_point():
        raise ModelError(
            "This router does not give logits, weights and chosen experts.",
            remedy="Leave train.load_balance at 0.",
        )
    logits, weights, chosen = found
    loss = balance_loss(logits, chosen, current_stream())
    return logits, apply(_WithLoss, weights, loss), chosen


class _WithLoss(Function):
    """x as it is; in backward a loss gets the gradient of a term of the total beside it."""

    @staticmethod
    def forward(context: Context, x: Tensor, loss: Tensor) -> Tensor:
        context.plan = loss.dtype
        return x.view_as(x)

    @staticmethod
    def backward(context: Context, g: Tensor) -> Gradients:
        return g, g.new_ones((), dtype=context.plan)


def _runs(
    segments: tuple[tuple[str | None, int, int], ...], terms: dict[str, Term]
) -> list[tuple[str | None, int, int]]:
    """Runs of rows with one term or none."""
    runs: list[tuple[str | None, int, int]] = []
    for adapter, start, stop in segments:
        own = adapter if adapter in terms else None
        if runs and runs[-1][0] == own:
            start = runs.pop()[1]
        runs.append((own, start, stop))
    return runs


def routers_of(model: nn.Module) -> dict[str, SeamRouter]:
    """The routers of a model's mixtures by the names of their weights, each ready for terms."""
    found: dict[str, SeamRouter] = {}
    for name, block in model.named_modules():
        experts = [each for each in block.children() if hasattr(each, "is_concatenated")]
        for child, module in block.named_children():
            weight = getattr(module, "weight", None)
            if not experts or isinstance(module, nn.Linear) or not isinstance(weight, Tensor):
                continue
            if len(weight) != experts[0].num_experts:
                continue
            seam = SeamRouter(module, f"{name}.{child}.weight")
            module.forward = partial(SeamRouter.forward, seam)
            found[seam.name] = seam
    return found
