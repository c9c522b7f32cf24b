"""Between which limits does a score, or a difference of scores, lie for rows not seen?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.evaluate.bootstrap import RESAMPLES
from tunesmith.evaluate.graded import graded_limits
from tunesmith.evaluate.proportion import tango_limits, wilson_limits

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over n rows and the limits of its confidence interval."""

    mean: float
    low: float
    high: float
    n: int


def mean_interval(
    scores: Sequence[float], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Interval:
    """The mean of scores within 0..1.

    Scores that are all 0 or 1 get Wilson's limits, others those of `graded_limits` (`seed` fixes
    its bootstrap). Raises ValueError without scores, or for one outside 0..1.
    """
    _require_scores(scores)
    n, mean = len(scores), math.fsum(scores) / len(scores)
    if is_binary(scores):
        low, high = wilson_limits(math.fsum(scores), n, level=level)
    else:
        low, high = graded_limits(
            scores, bounds=(0.0, 1.0), seed=seed, level=level, resamples=resamples
        )
    return Interval(mean, low=low, high=high, n=n)


def paired_difference(
    a: Sequence[float],
    b: Sequence[float],
    *,
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of a - b, two arms' scores within 0..1 of the same rows in the same order.

    Scores that are all 0 or 1 get Tango's limits, which agree with McNemar's test; others those
    of `graded_limits` of the rows' differences. Raises ValueError for arms of unequal length,
    without scores, or for one outside 0..1.
    """
    differences = differences_of(a, b)
    n, mean = len(differences), math.fsum(differences) / len(differences)
    if is_binary(a) and is_binary(b):
        low, high = tango_limits(differences.count(1), differences.count(-1), n, level=level)
    else:
        low, high = graded_limits(
            differences, bounds=(-1.0, 1.0), seed=seed, level=level, resamples=resamples
        )
    return Interval(mean, low=low, high=high, n=n)


def differences_of(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """a - b row by row; raises ValueError for what cannot be two arms' scores of the same rows."""
    if len(a) != len(b):
        raise ValueError(f"paired scores must belong to the same rows: {len(a)} against {len(b)}")
    _require_scores(a)
    _require_scores(b)
    return [x - y for x, y in zip(a, b, strict=True)]


def is_binary(scores: Sequence[float]) -> bool:
    """Whether each row passes or fails."""
    return all(score in (0, 1) for score in scores)


def _require_scores(scores: Sequence[float]) -> None:
    if len(scores) == 0:
        raise ValueError("no scores: a mean needs at least one row")
    wrong = [score for score in scores if not 0 <= score <= 1]
    if wrong:
        raise ValueError(f"scores lie within 0..1, but {len(wrong)} do not, the first {wrong[0]}")
