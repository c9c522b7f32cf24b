"""DARE: drop entries at random and scale up the rest (arXiv 2311.03099, equation 1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.adapters.combine.method import Layer, require_density
from tunesmith.adapters.combine.ties import Signs, agreeing_mean
from tunesmith.adapters.products import Delta, Dense, by_rows


@dataclass(frozen=True, slots=True)
class Dare:
    """``density``: the share of entries that stays, 1 - p; what stays counts 1 / density times."""

    density: float = 0.5

    def __post_init__(self) -> None:
        require_density(self.density)

    def combine(self, deltas: Sequence[Delta], layer: Layer, /) -> Dense:
        """The sum of what stays; its mean over the seeds is the linear combination."""
        drop = dropper(len(deltas), layer, self.density)
        return by_rows(deltas, lambda rows: drop(rows).sum(0))


@dataclass(frozen=True, slots=True)
class DareTies:
    """DARE in the place of TIES' trimming."""

    density: float = 0.5
    signs: Signs = "total"

    def __post_init__(self) -> None:
        require_density(self.density)

    def combine(self, deltas: Sequence[Delta], layer: Layer, /) -> Dense:
        """The mean of what stays and has the elected sign."""
        drop = dropper(len(deltas), layer, self.density)
        return by_rows(deltas, lambda rows: agreeing_mean(drop(rows), self.signs))


def dropper(count: int, layer: Layer, density: float) -> Callable[[Tensor], Tensor]:
    """Drops entries of ``count`` deltas' rows [N, n, D_in], given from the first row to the last.

    Each delta draws from a generator of its own.
    """
    generators = [layer.generator(index) for index in range(count)]

    def drop(rows: Tensor) -> Tensor:
        draws = [torch.rand(rows.shape[1:], generator=each) for each in generators]
        return rows * (torch.stack(draws) < density) / density

    return drop
