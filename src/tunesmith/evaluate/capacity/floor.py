"""Does a larger rank reach a lower loss? Runs of several ranks over the same rows."""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.evaluate.bootstrap import RESAMPLES
from tunesmith.evaluate.graded import wider_limits
from tunesmith.evaluate.interval import LEVEL

MATTERS = 0.05  # of the loss: less is lost or gained by another seed


@dataclass(frozen=True, slots=True)
class RankPoint:
    """A rank, and the loss of each training row with it (nats per supervised token)."""

    rank: int
    losses: Sequence[float]

    @property
    def loss(self) -> float:
        """The mean over rows."""
        return statistics.mean(self.losses)


@dataclass(frozen=True, slots=True)
class FloorFall:
    """From one rank to the next larger one: share of the loss that went, with its limits."""

    rank: int
    larger: int
    fall: float
    low: float
    high: float

    @property
    def matters(self) -> bool:
        """Whether the larger rank surely reaches a loss that is lower by `MATTERS`."""
        return self.low > MATTERS

    def to_json(self) -> dict[str, object]:
        """One step of the document."""
        return {
            "rank": self.rank,
            "larger": self.larger,
            "fall": self.fall,
            "low": self.low,
            "high": self.high,
        }


def loss_falls(
    points: Sequence[RankPoint], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> tuple[FloorFall, ...]:
    """Each rank against the next larger one, row by row; several comparisons share the error.

    Raises ValueError for fewer than two ranks, a rank given twice, or rows that differ.
    """
    ordered = sorted(points, key=lambda point: point.rank)
    if len({point.rank for point in ordered}) < max(2, len(ordered)):
        raise ValueError("two different ranks or more are compared, each given once")
    if len({len(point.losses) for point in ordered}) > 1 or len(ordered[0].losses) < 2:
        raise ValueError("ranks are compared over the same two rows or more")
    strict = 1 - (1 - level) / (len(ordered) - 1)
    return tuple(
        _fall(small, large, seed=seed, level=strict, resamples=resamples)
        for small, large in itertools.pairwise(ordered)
    )


def _fall(
    small: RankPoint, large: RankPoint, *, seed: int, level: float, resamples: int
) -> FloorFall:
    differences = [a - b for a, b in zip(small.losses, large.losses, strict=True)]
    mean = statistics.mean(differences)
    if all(value == differences[0] for value in differences):
        low = high = mean
    else:
        low, high = wider_limits(differences, seed=seed, level=level, resamples=resamples)
    whole = small.loss or 1.0
    return FloorFall(small.rank, large.rank, mean / whole, low / whole, high / whole)
