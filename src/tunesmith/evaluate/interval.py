"""Between which limits does a score, or a difference of scores, lie for rows not seen?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.evaluate.bootstrap import RESAMPLES, bootstrap_limits
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

    Scores that are all 0 or 1 get Wilson's limits, others the bootstrap's (`seed` fixes it);
    equal scores, which leave the bootstrap without width, get `unvaried_limits`.
    Raises ValueError without scores, or for one outside 0..1.
    """
    _require_scores(scores)
    n, mean = len(scores), math.fsum(scores) / len(scores)
    if _all_binary(scores):
        low, high = wilson_limits(math.fsum(scores), n, level=level)
    elif _all_equal(scores):
        low, high = unvaried_limits(scores[0], n, bounds=(0.0, 1.0), level=level)
    else:
        low, high = bootstrap_limits(scores, seed=seed, level=level, resamples=resamples)
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

    Scores that are all 0 or 1 get Tango's limits, which agree with McNemar's test; others the
    bootstrap of the rows' differences; equal differences get `unvaried_limits`.
    Raises ValueError for arms of unequal length, without scores, or for one outside 0..1.
    """
    if len(a) != len(b):
        raise ValueError(f"paired scores must belong to the same rows: {len(a)} against {len(b)}")
    _require_scores(a)
    _require_scores(b)
    differences = [x - y for x, y in zip(a, b, strict=True)]
    n, mean = len(differences), math.fsum(differences) / len(differences)
    if _all_binary(a) and _all_binary(b):
        low, high = tango_limits(differences.count(1), differences.count(-1), n, level=level)
    elif _all_equal(differences):
        low, high = unvaried_limits(differences[0], n, bounds=(-1.0, 1.0), level=level)
    else:
        low, high = bootstrap_limits(differences, seed=seed, level=level, resamples=resamples)
    return Interval(mean, low=low, high=high, n=n)


def unvaried_limits(
    value: float, n: int, *, bounds: tuple[float, float], level: float
) -> tuple[float, float]:
    """Limits of a mean when all of n rows gave the same value, and none can leave ``bounds``.

    Wilson's upper limit of 0 in n bounds the share of rows that would give something else, and
    those may lie at either bound. For scores 0 and 1, and for no change in 0/1 pairs, this is
    the limit of Wilson and of Tango.
    """
    _, share = wilson_limits(0, n, level=level)
    least, most = bounds
    return value - share * (value - least), value + share * (most - value)


def _require_scores(scores: Sequence[float]) -> None:
    if len(scores) == 0:
        raise ValueError("no scores: a mean needs at least one row")
    wrong = [score for score in scores if not 0 <= score <= 1]
    if wrong:
        raise ValueError(f"scores lie within 0..1, but {len(wrong)} do not, the first {wrong[0]}")


def _all_binary(scores: Sequence[float]) -> bool:
    return all(score in (0, 1) for score in scores)


def _all_equal(values: Sequence[float]) -> bool:
    return all(value == values[0] for value in values)
