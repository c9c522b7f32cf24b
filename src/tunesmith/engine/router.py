"""The router of a mixture: which experts a token goes to, with adapters' terms on their rows."""

import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine.batch import current_stream
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
        if len(parts) == 1:
            return parts[0]
        if isinstance(parts[0], Tensor):
            return torch.cat(parts)
        return tuple(map(torch.cat, zip(*parts, strict=True)))

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
