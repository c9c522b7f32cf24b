"""Several adapters combined layer by layer, and factored back to a LoRA of a rank."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tunesmith.adapters.combine_rules import Linear, MergeLayer, MergeMethod
from tunesmith.adapters.products import Delta, Product, blocks
from tunesmith.adapters.sources import AdapterSource, require_alike, require_fit
from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.core.numbers import pluralize
from tunesmith.engine.forward import Engine
from tunesmith.methods.adapter import Changes


@dataclass(frozen=True, slots=True)
class Combination:
    """Adapters of one base; each product counts its weight times before the method sees it.

    A single adapter has nothing to be combined with: every method gives it as it is, times its
    weight. ``seed`` rules what a method draws. Raises AdapterError for different bases (see
    ``sources.require_alike``), ConfigError for weights that do not fit.
    """

    sources: Sequence[AdapterSource]
    weights: Sequence[float]
    method: MergeMethod = field(default_factory=Linear)
    seed: int = 0
    trust_bases: bool = False

    def __post_init__(self) -> None:
        _require_weights(self.sources, self.weights)
        require_alike(self.sources, trust_bases=self.trust_bases)

    @property
    def layers(self) -> list[str]:
        """Every layer that any of the adapters has, in the order in which they are met."""
        return list(dict.fromkeys(name for source in self.sources for name in source.shapes))

    def delta(self, layer: str) -> Delta:
        """What they add to a layer's W together."""
        products = [
            product.times(weight)
            for source, weight in zip(self.sources, self.weights, strict=True)
            if (product := source.product(layer)) is not None
        ]
        method = self.method if len(self.sources) > 1 else Linear()
        return method(products, MergeLayer(layer, len(self.sources), self.seed))

    def deltas(self) -> Iterator[tuple[str, Delta]]:
        """Layer and delta, one after the other."""
        return ((layer, self.delta(layer)) for layer in self.layers)

    def changes(self, engine: Engine) -> Changes:
        """What merging all of it into the base, without a rank, makes of its weights.

        Each delta is made when its weight is changed, and forgotten then. Raises AdapterError for
        another base than theirs. ``merge.save_changed`` writes the model.
        """
        require_fit(engine, self.sources)
        return {f"{name}.weight": functools.partial(self._merged, name) for name in self.layers}

    def _merged(self, layer: str, weight: Tensor) -> Tensor:
        delta, total = self.delta(layer), weight.clone()
        for start, stop in blocks(delta.shape):
            total[start:stop] += delta.rows(start, stop).to(total)
        return total


def _require_weights(sources: Sequence[AdapterSource], weights: Sequence[float]) -> None:
    if not sources or len(weights) != len(sources):
        raise ConfigError(
            f"There are {pluralize(len(sources), 'adapter')} and "
            f"{pluralize(len(weights), 'weight')}.",
            remedy="Give at least one adapter, and a weight for each.",
        )
    if odd := [weight for weight in weights if not math.isfinite(weight)]:
        raise ConfigError(
            f"Weights {odd} are no numbers to multiply by.", remedy="Give finite weights."
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """How a delta becomes s B A.

    ``rank`` at most; None keeps the rank that the method gives. ``exact``: by the whole singular
    value decomposition of a dense delta, in place of randomised subspace iteration (arXiv
    0909.4061, algorithm 4.4). ``dtype``: of A and B as they are stored; None: the widest format
    of the adapters.
    """

    rank: int | None = None
    exact: bool = False
    dtype: torch.dtype | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rank is not None and self.rank < 1:
            raise ConfigError(f"rank is {self.rank}.", remedy="Set it to 1 or more.")


def fitted(delta: Delta, fit: Fit) -> Product:
    """The delta as a product of at most ``fit.rank``, or of its own where it needs no more.

    Raises ConfigError for a dense delta without a rank, AdapterError for numbers that are too
    large for ``fit.dtype``.
    """
    rank = fit.rank or delta.rank
    if rank is None:
        raise ConfigError(
            "What this method gives is dense, and no LoRA of a small rank.",
            remedy="Give the rank that it is cut to, or merge the combination into the base.",
        )
    product = delta.nearest(rank, exact=fit.exact, seed=fit.seed).to(fit.dtype or delta.dtype)
    if not (product.a.isfinite().all() and product.b.isfinite().all()):
        raise AdapterError(
            f"The combination has numbers that {product.dtype} cannot hold.",
            remedy="Save it in float32, or give smaller weights.",
        )
    return product
