"""TIES: trim, elect a sign, mean of those that agree (arXiv 2306.01708, algorithm 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from tunesmith.adapters.combine.magnitude import Trim
from tunesmith.adapters.combine.method import Layer, require_density
from tunesmith.adapters.products import Delta, Dense, by_rows

# What elects an entry's sign: the sum of the values, or the count of the signs.
Signs = Literal["total", "frequency"]


@dataclass(frozen=True, slots=True)
class Ties:
    """``density``: the share of a layer's entries that each adapter keeps (the paper's k)."""

    density: float = 0.2
    signs: Signs = "total"

    def __post_init__(self) -> None:
        require_density(self.density)

    def combine(self, deltas: Sequence[Delta], layer: Layer, /) -> Dense:  # noqa: ARG002
        """The mean of the kept values with the elected sign."""
        trim = Trim(deltas, self.density)
        return by_rows(deltas, lambda rows: agreeing_mean(trim(rows), self.signs))


def agrees(rows: Tensor, signs: Signs) -> Tensor:
    """Which entries [N, n, D_in] have the sign that is elected for their place.

    Where positive and negative balance there is no sign, and nothing agrees (the paper's sgn).
    """
    votes = rows if signs == "total" else rows.sign()
    elected = votes.sum(0).sign()
    return (rows.sign() == elected) & (rows != 0)


def agreeing_mean(rows: Tensor, signs: Signs) -> Tensor:
    """The mean [n, D_in] of those of [N, n, D_in] that agree; zero where none does."""
    agreeing = agrees(rows, signs)
    return (rows * agreeing).sum(0) / agreeing.sum(0).clamp_min(1)
