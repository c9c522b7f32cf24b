"""How much better are the rows that were trained on known than rows that were not?"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tunesmith.evaluate.bootstrap import RESAMPLES
from tunesmith.evaluate.graded import wider_limits
from tunesmith.evaluate.interval import LEVEL, Interval

Losses = Sequence[float]  # of rows, nats per supervised token


@dataclass(frozen=True, slots=True)
class RowLosses:
    """Each row's loss under the base and under the tuned model; the base's may be missing."""

    tuned: Losses
    base: Losses | None = None

    @property
    def change(self) -> list[float] | None:
        """Tuned minus base, row by row."""
        if self.base is None:
            return None
        return [a - b for a, b in zip(self.tuned, self.base, strict=True)]


@dataclass(frozen=True, slots=True)
class Gap:
    """Mean losses of training and held-out rows under the tuned model, and held-out minus training.

    ``changes`` are tuned minus base of either kind, row by row; None without a base. What gap the
    base has is not taken off: its losses differ so much from row to row (9 nats and 4 more or less
    for labels that it does not know) that nothing could be told from the rest.
    """

    train: float
    held: float
    gap: Interval
    train_change: Interval | None = None
    held_change: Interval | None = None

    def to_json(self) -> dict[str, object]:
        """The losses of the document, in nats per supervised token."""
        return {
            "train_loss": self.train,
            "held_out_loss": self.held,
            "gap": asdict(self.gap),
            "train_change": asdict(self.train_change) if self.train_change else None,
            "held_out_change": asdict(self.held_change) if self.held_change else None,
        }


def gap_of(
    train: RowLosses,
    held: RowLosses,
    *,
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Gap:
    """From rows of both kinds; raises ValueError for fewer than two rows of either."""
    if min(len(train.tuned), len(held.tuned)) < 2:
        raise ValueError("a gap needs two rows or more of either kind")
    changes = train.change, held.change
    intervals = [
        None if each is None else _mean(each, seed=seed, level=level, resamples=resamples)
        for each in changes
    ]
    return Gap(
        statistics.fmean(train.tuned),
        statistics.fmean(held.tuned),
        difference_of_means(train.tuned, held.tuned, seed=seed, level=level, resamples=resamples),
        *intervals,
    )


def _mean(values: Losses, *, seed: int, level: float, resamples: int) -> Interval:
    mean = statistics.fmean(values)
    if all(value == values[0] for value in values):
        return Interval(mean, mean, mean, len(values))
    low, high = wider_limits(values, seed=seed, level=level, resamples=resamples)
    return Interval(mean, low, high, len(values))


def difference_of_means(
    a: Losses, b: Losses, *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """Mean of b less mean of a, of rows that are no pairs: each mean's half widths add up in
    quadrature (Zou & Donner 2008, Stat. Med. 27:1693), which keeps the skew of either.
    """
    first = _mean(a, seed=seed, level=level, resamples=resamples)
    second = _mean(b, seed=seed, level=level, resamples=resamples)
    mean = second.mean - first.mean
    return Interval(
        mean,
        mean - math.hypot(second.mean - second.low, first.high - first.mean),
        mean + math.hypot(second.high - second.mean, first.mean - first.low),
        min(first.n, second.n),
    )
