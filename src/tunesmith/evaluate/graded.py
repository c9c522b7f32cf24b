"""How sure is the mean of graded scores? Student's t or the bootstrap, whichever is wider."""

import math
from collections.abc import Sequence

import numpy as np

from tunesmith.evaluate.bootstrap import RESAMPLES, bootstrap_limits
from tunesmith.evaluate.proportion import wilson_limits


def graded_limits(
    values: Sequence[float],
    *,
    bounds: tuple[float, float],
    seed: int,
    level: float,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Limits of the mean of ``values``, none of which can leave ``bounds``.

    With few rows the bootstrap alone is too narrow (up to 8 % of false alarms a side where 2.5 %
    are meant), with skewed rows Student's t alone; the wider of both on each side stays near what
    it promises (benchmarks/README.md). Equal values get `unvaried_limits`.
    """
    if all(value == values[0] for value in values):
        return unvaried_limits(values[0], len(values), bounds=bounds, level=level)
    low, high = wider_limits(values, seed=seed, level=level, resamples=resamples)
    least, most = bounds
    return max(least, low), min(most, high)


def wider_limits(
    values: Sequence[float], *, seed: int, level: float, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """On each side Student's limit of the mean or the bootstrap's, whichever is further out."""
    student = student_limits(values, level=level)
    drawn = bootstrap_limits(values, seed=seed, level=level, resamples=resamples)
    return min(student[0], drawn[0]), max(student[1], drawn[1])


def student_limits(values: Sequence[float], *, level: float) -> tuple[float, float]:
    """Student's limits of the mean of two values or more."""
    rows = np.asarray(values, dtype=np.float64)
    mean, half = float(rows.mean()), float(rows.std(ddof=1)) / math.sqrt(rows.size)
    half *= student_quantile((1 + level) / 2, rows.size - 1)
    return mean - half, mean + half


def student_quantile(probability: float, degrees: int) -> float:
    """The value that Student's t with so many degrees of freedom stays below."""
    from scipy.special import stdtrit  # takes a while to load, and few need it

    return float(stdtrit(degrees, probability))


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
