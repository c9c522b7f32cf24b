"""How much of its rank does an adapter use, by layer and over all?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_ENERGY = 0.99  # a product cut at this share of its energy is off by a tenth of its size


@dataclass(frozen=True, slots=True)
class LayerUse:
    """A layer's rank R, its singular values (falling), and what follows from them."""

    layer: str
    rank: int
    values: tuple[float, ...]

    @property
    def energy(self) -> float:
        """The squared size of the layer's change, ||s B A||^2."""
        return math.fsum(value * value for value in self.values)

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the singular values' shares (Roy & Vetterli 2007, EUSIPCO).

        Between 1 (one direction) and R (all alike); 0 for a layer that nothing changed.
        """
        total = math.fsum(self.values)
        shares = [value / total for value in self.values if value > 0] if total > 0 else []
        return math.exp(-math.fsum(share * math.log(share) for share in shares)) if shares else 0.0

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of the energy that the first 1, 2, ... directions hold; empty where it is 0."""
        return cumulative([value * value for value in self.values])

    def rank_for(self, share: float = MOST_ENERGY) -> int:
        """The fewest directions that hold this share of the energy; 0 without any."""
        return next((k for k, held in enumerate(self.shares, start=1) if held >= share), 0)

    def to_json(self) -> dict[str, object]:
        """One layer of the document."""
        return {
            "layer": self.layer,
            "rank": self.rank,
            "effective_rank": self.effective_rank,
            "norm": math.sqrt(self.energy),
            "rank_for_99": self.rank_for(),
            "singular_values": list(self.values),
        }


@dataclass(frozen=True, slots=True)
class RankUse:
    """Every layer of one adapter."""

    layers: tuple[LayerUse, ...]

    @property
    def rank(self) -> int:
        """The rank of most layers."""
        ranks = [each.rank for each in self.layers]
        return max(sorted(set(ranks), reverse=True), key=ranks.count)

    @property
    def trained(self) -> tuple[LayerUse, ...]:
        """Layers that something changed."""
        return tuple(each for each in self.layers if each.energy > 0)

    @property
    def effective_share(self) -> float:
        """Effective rank as a share of R: the mean over layers, each at its share of the energy.

        A layer that hardly changed says little about what the rank is good for.
        """
        total = math.fsum(each.energy for each in self.trained)
        weighted = [
            each.energy * each.effective_rank / len(each.values)
            for each in self.trained
            if total > 0
        ]
        return math.fsum(weighted) / total if total > 0 else 0.0

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of all layers' energy that their first 1, 2, ... directions hold."""
        longest = max((len(each.values) for each in self.layers), default=0)
        energies = [
            math.fsum(each.values[k] ** 2 for each in self.layers if k < len(each.values))
            for k in range(longest)
        ]
        return cumulative(energies)

    def rank_for(self, share: float = MOST_ENERGY) -> int:
        """The fewest directions a layer that together hold this share of all energy."""
        return next((k for k, held in enumerate(self.shares, start=1) if held >= share), 0)

    def to_json(self) -> dict[str, object]:
        """The document's part without its findings."""
        return {
            "rank": self.rank,
            "effective_share": self.effective_share,
            "rank_for_99": self.rank_for(),
            "energy_shares": list(self.shares),
            "layers": [each.to_json() for each in self.layers],
        }


def rank_use(spectra: Mapping[str, Sequence[float]], ranks: Mapping[str, int]) -> RankUse:
    """From singular values by layer, and each layer's R. Raises ValueError without a layer."""
    if not spectra:
        raise ValueError("no layer has a low-rank term")
    return RankUse(
        tuple(LayerUse(name, ranks[name], tuple(values)) for name, values in spectra.items())
    )


def cumulative(energies: Sequence[float]) -> tuple[float, ...]:
    """Share of the total that the first 1, 2, ... hold; empty where there is nothing."""
    total = math.fsum(energies)
    if not total > 0:
        return ()
    sums = [math.fsum(energies[: k + 1]) / total for k in range(len(energies))]
    return tuple(min(1.0, share) for share in sums)
