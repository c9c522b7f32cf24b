"""Several adapters, their weights and a method: what they add together, one layer at a time."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from tunesmith.adapters.combine.linear import Linear
from tunesmith.adapters.combine.method import Layer, Method
from tunesmith.adapters.products import Delta, blocks
from tunesmith.adapters.sources import Source, require_alike, require_fit
from tunesmith.counts import many
from tunesmith.engine.forward import Engine
from tunesmith.errors import ConfigError
from tunesmith.methods.adapter import Changes


@dataclass(frozen=True, slots=True)
class Combination:
    """Adapters of one base; each product counts its weight times before the method sees it.

    A single adapter has nothing to be combined with: every method gives it as it is, times its
    weight. ``seed`` rules what a method draws. Raises AdapterError for different bases (see
    ``sources.require_alike``), ConfigError for weights that do not fit.
    """

    sources: Sequence[Source]
    weights: Sequence[float]
    method: Method = field(default_factory=Linear)
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
        return method.combine(products, Layer(layer, len(self.sources), self.seed))

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


def _require_weights(sources: Sequence[Source], weights: Sequence[float]) -> None:
    if not sources or len(weights) != len(sources):
        raise ConfigError(
            f"There are {many(len(sources), 'adapter')} and {many(len(weights), 'weight')}.",
            remedy="Give at least one adapter, and a weight for each.",
        )
    if odd := [weight for weight in weights if not math.isfinite(weight)]:
        raise ConfigError(
            f"Weights {odd} are no numbers to multiply by.", remedy="Give finite weights."
        )
