"""SCE: select by variance, calculate weights by energy, erase minorities (arXiv 2408.07990, 3.3).

Where the adapters differ most is kept; each adapter counts by the squares of what it keeps there;
entries against the sign of the sum are erased, and the rest is averaged by the weights that remain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.adapters.combine.magnitude import kth_largest_
from tunesmith.adapters.combine.method import Layer, require_density
from tunesmith.adapters.combine.ties import agrees
from tunesmith.adapters.products import Delta, Dense, blocks, by_rows


@dataclass(frozen=True, slots=True)
class Sce:
    """``density``: the share of a layer's entries, of those that differ at all, that is kept."""

    density: float = 0.1

    def __post_init__(self) -> None:
        require_density(self.density)

    def combine(self, deltas: Sequence[Delta], layer: Layer, /) -> Dense:
        """Adapters without this layer count as zeros in the variance, and have no weight."""
        least = self._least_selected(deltas, layer.adapters)

        def selected(rows: Tensor) -> Tensor:
            return rows * (variance(rows, layer.adapters) >= least)

        energies = torch.zeros(len(deltas), dtype=torch.float64)
        for block in blocks(deltas[0].shape):
            rows = torch.stack([each.rows(*block) for each in deltas])
            energies += selected(rows).square().sum((1, 2), dtype=torch.float64)
        total = energies.sum()
        weights = (energies / total if total else energies).to(deltas[0].dtype)[:, None, None]

        def rule(rows: Tensor) -> Tensor:
            rows = selected(rows)
            kept = weights * agrees(rows, "total")
            left = kept.sum(0)
            return (rows * kept).sum(0) / torch.where(left == 0, torch.ones_like(left), left)

        return by_rows(deltas, rule)

    def _least_selected(self, deltas: Sequence[Delta], adapters: int) -> Tensor:
        """The smallest variance [] that is selected; one matrix of variances exists meanwhile."""
        if self.density == 1:
            return torch.zeros((), dtype=deltas[0].dtype)
        spread = by_rows(deltas, lambda rows: variance(rows, adapters)).matrix
        kept = int(self.density * int(spread.count_nonzero()))
        if not kept:
            return torch.full((), torch.inf, dtype=spread.dtype)
        return kth_largest_(spread, kept)


def variance(rows: Tensor, adapters: int) -> Tensor:
    """Over ``adapters`` values, [n, D_in] of [N, n, D_in]; those beyond N are zero."""
    mean = rows.sum(0) / adapters
    squares = (rows - mean).square().sum(0) + (adapters - len(rows)) * mean.square()
    return squares / adapters
