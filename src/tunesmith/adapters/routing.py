"""Routing in place of merging: each token weighs the adapters (Arrow, arXiv 2405.11157, 3.2).

y = W x + sum_i w_i(x) s_i B_i A_i x, with w(x) the softmax of |v_i . x| over the k largest, where
v_i is the input direction that B_i A_i enlarges most. Nothing is trained, nothing is averaged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunesmith.adapters.products import Product, concatenated
from tunesmith.adapters.sources import AdapterSource, require_alike, require_fit
from tunesmith.core.errors import ConfigError
from tunesmith.engine.forward import Engine
from tunesmith.engine.term import Term


@dataclass(frozen=True, slots=True)
class Routing:
    """``top_k`` adapters have a part in each token of each layer; a low temperature picks one."""

    top_k: int = 3
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.top_k < 1 or not self.temperature > 0:
            raise ConfigError(
                f"top_k is {self.top_k} and temperature {self.temperature:g}.",
                remedy="Set top_k to 1 or more, and temperature above 0.",
            )

    def weights(self, x: Tensor, prototypes: Tensor) -> Tensor:
        """Weights [T, N], adding up to 1, of x [T, D_in] by the prototypes [N, D_in]."""
        likeness = (x.to(prototypes.dtype) @ prototypes.t()).abs()
        chosen = likeness.topk(min(self.top_k, len(prototypes)), dim=1)
        scores = torch.full_like(likeness, -torch.inf)
        scores.scatter_(1, chosen.indices, chosen.values)
        return (scores / self.temperature).softmax(1)


def prototype(product: Product) -> Tensor:
    """The right singular vector [D_in] of the largest singular value, of either sign."""
    return product.svd().v[:, 0].to(product.dtype)


def attach(
    engine: Engine,
    sources: Sequence[AdapterSource],
    routing: Routing,
    *,
    name: str = "routed",
    trust_bases: bool = False,
) -> Callable[[], None]:
    """Let documents of the adapter ``name`` use all of ``sources``; what takes that off again.

    For inference: a pass that asks for gradients raises RuntimeError. A layer is routed among the
    adapters that have it. Raises AdapterError for adapters of different bases or of another one.
    """
    require_alike(sources, trust_bases=trust_bases)
    require_fit(engine, sources)
    layers = list(dict.fromkeys(layer for source in sources for layer in source.shapes))
    for layer in layers:
        found = [product for source in sources if (product := source.product(layer)) is not None]
        device = engine.linears[layer].weight.device
        engine.linears[layer].terms[name] = _term(found, routing, device)

    def detach() -> None:
        for layer in layers:
            engine.linears[layer].terms.pop(name, None)

    return detach


def _term(products: Sequence[Product], routing: Routing, device: torch.device) -> Term:
    """All adapters of a layer as one term, whose gate weighs each one's ranks alike."""
    whole = concatenated(products)
    prototypes = torch.stack([prototype(each) for each in products]).to(device)
    ranks = torch.tensor([each.rank for each in products], device=device)

    def gate(x: Tensor) -> Tensor:
        return routing.weights(x, prototypes).repeat_interleave(ranks, dim=1).to(x.dtype)

    a, b = (nn.Parameter(each.to(device), requires_grad=False) for each in (whole.a, whole.b))
    return Term(a, b, whole.scale, gate=gate)
