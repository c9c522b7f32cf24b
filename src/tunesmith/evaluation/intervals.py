"""Between which limits does a mean, a share or a difference lie for unseen rows?"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

BISECTIONS = 60
DIGITS = 25  # more than a float has


def quantile_of(level: float) -> float:
    """z: a standard normal value lies within -z .. z with probability ``level``."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson_limits(successes: float, n: int, *, level: float) -> tuple[float, float]:
    """Limits of a share, successes of n (Wilson 1927, J. Am. Stat. Assoc. 22:209).

    They have width even where no row or every row succeeded, and stay within 0..1.
    """
    z = quantile_of(level)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


def tango_limits(gained: float, lost: float, n: float, *, level: float) -> tuple[float, float]:
    """Limits of (gained - lost) / n, where the other of n pairs did not change.

    The score interval of Tango (1998, Stat. Med. 17:891): all differences that the score test
    does not reject. It excludes 0 exactly where McNemar's test finds a change, and has width
    even where no pair changed.
    """
    z = quantile_of(level)
    estimate = (gained - lost) / n

    def rejected(difference: float) -> bool:
        return abs(_tango_score(gained, lost, n, difference=difference)) > z

    return (
        _edge(rejected, inside=estimate, outside=-1.0),
        _edge(rejected, inside=estimate, outside=1.0),
    )


def _tango_score(gained: float, lost: float, n: float, *, difference: float) -> float:
    """Tango's equations 10-12: z of the observed difference if the true one is ``difference``."""
    a = 2 * n
    b = -gained - lost + (2 * n - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    lost_share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * lost_share + difference * (1 - difference))
    distance = gained - lost - n * difference
    if variance <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def _edge(rejected: Callable[[float], bool], *, inside: float, outside: float) -> float:
    """The last value on the way from ``inside`` to ``outside`` that is not rejected."""
    if not rejected(outside):
        return outside
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return inside


RESAMPLES = 10_000  # of every bootstrap that is not given another number
CHUNK_VALUES = 1 << 20


def bootstrap_limits(
    values: Sequence[float], *, seed: int, level: float, resamples: int | None = None
) -> tuple[float, float]:
    """BCa limits of the mean (Efron & Tibshirani 1993, An Introduction to the Bootstrap, 14.3).

    Too narrow for a handful of values, and without width where all are equal, which says nothing
    about unseen rows: callers that know the range of a value handle that case.
    Raises ValueError for fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"a bootstrap needs at least two values, not {len(values)}")
    rows = np.asarray(values, dtype=np.float64)  # [n]
    means = _resampled_means(rows, resamples or RESAMPLES, seed=seed)  # [resamples], sorted
    low, high = (_bca_level(means, rows, probability=p) for p in ((1 - level) / 2, (1 + level) / 2))
    quantiles = np.quantile(means, [low, high])
    return float(quantiles[0]), float(quantiles[1])


def _resampled_means(
    rows: NDArray[np.float64], resamples: int, *, seed: int
) -> NDArray[np.float64]:
    """Sorted means of ``resamples`` draws with replacement, made in chunks of bounded memory."""
    rng = np.random.default_rng(seed)
    n = rows.size
    chunk = max(1, CHUNK_VALUES // n)
    means = [
        rows[rng.integers(0, n, size=(min(chunk, resamples - start), n))].mean(axis=1)
        for start in range(0, resamples, chunk)
    ]
    return np.sort(np.concatenate(means))


def _bca_level(
    means: NDArray[np.float64], rows: NDArray[np.float64], *, probability: float
) -> float:
    """The quantile of the resampled means to read for ``probability``: equations 14.10, 14.14-15.

    Resampled means that equal the mean count half, as they do in sums of few distinct values.
    """
    normal = NormalDist()
    mean = rows.mean()
    below = (np.searchsorted(means, mean, "left") + np.searchsorted(means, mean, "right")) / 2
    share = float(np.clip(below, 0.5, means.size - 0.5)) / means.size
    bias = normal.inv_cdf(share)
    spread = rows - mean  # n - 1 times what leaving one row out changes
    variance = float((spread**2).sum())
    acceleration = float((spread**3).sum()) / (6 * variance**1.5) if variance > 0 else 0.0
    shifted = bias + normal.inv_cdf(probability)
    return normal.cdf(bias + shifted / (1 - acceleration * shifted))


def graded_limits(
    values: Sequence[float], *, bounds: tuple[float, float], seed: int, level: float
) -> tuple[float, float]:
    """Limits of the mean of ``values``, none of which can leave ``bounds``.

    With few rows the bootstrap alone is too narrow (up to 8 % of false alarms a side where 2.5 %
    are meant), with skewed rows Student's t alone; the wider of both on each side stays near its
    nominal level (benchmarks/README.md). Equal values get `unvaried_limits`.
    """
    if all(value == values[0] for value in values):
        return unvaried_limits(values[0], len(values), bounds=bounds, level=level)
    low, high = wider_limits(values, seed=seed, level=level)
    least, limit = bounds
    return max(least, low), min(limit, high)


def wider_limits(values: Sequence[float], *, seed: int, level: float) -> tuple[float, float]:
    """On each side Student's limit of the mean or the bootstrap's, whichever is further out."""
    student = student_limits(values, level=level)
    drawn = bootstrap_limits(values, seed=seed, level=level)
    return min(student[0], drawn[0]), max(student[1], drawn[1])


def student_limits(values: Sequence[float], *, level: float) -> tuple[float, float]:
    """Student's limits of the mean of two values or more."""
    rows = np.asarray(values, dtype=np.float64)
    mean, half = float(rows.mean()), float(rows.std(ddof=1)) / math.sqrt(rows.size)
    half *= student_quantile((1 + level) / 2, rows.size - 1)
    return mean - half, mean + half


@functools.cache
def student_quantile(probability: float, degrees: int) -> float:
    """The value that Student's t with so many degrees of freedom stays below (from 0.5 on).

    P(|t| > x) is the regularised incomplete beta function at n / (n + x^2), with n / 2 and 1 / 2.
    """
    import mpmath  # takes a while to load, and few need it

    def beyond(x: object) -> object:
        at = degrees / (degrees + x * x)  # type: ignore[operator]  # numbers of mpmath
        return mpmath.betainc(degrees / 2, 0.5, 0, at, regularized=True) / 2 + probability - 1

    with mpmath.workdps(DIGITS):
        return float(mpmath.findroot(beyond, NormalDist().inv_cdf(probability)))


def unvaried_limits(
    value: float, n: int, *, bounds: tuple[float, float], level: float
) -> tuple[float, float]:
    """Limits of a mean when all of n rows gave the same value, and none can leave ``bounds``.

    Wilson's upper limit of 0 in n bounds the share of rows that would give something else, and
    those may lie at either bound. For scores 0 and 1, and for no change in 0/1 pairs, this is
    the limit of Wilson and of Tango.
    """
    _, share = wilson_limits(0, n, level=level)
    least, limit = bounds
    return value - share * (value - least), value + share * (limit - value)


LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over n rows and the limits of its confidence interval."""

    mean: float
    low: float
    high: float
    n: int

    def to_json(self, name: str = "mean") -> dict[str, float]:
        """As in every document; scores have the ``name`` `score`."""
        return {name: self.mean, "low": self.low, "high": self.high, "n": self.n}


def mean_interval(scores: Sequence[float], *, seed: int, level: float = LEVEL) -> Interval:
    """The mean of scores within 0..1.

    Scores that are all 0 or 1 get Wilson's limits, others those of `graded_limits` (`seed` fixes
    its bootstrap). Raises ValueError without scores, or for one outside 0..1.
    """
    _require_scores(scores)
    n, mean = len(scores), math.fsum(scores) / len(scores)
    if is_binary(scores):
        low, high = wilson_limits(math.fsum(scores), n, level=level)
    else:
        low, high = graded_limits(scores, bounds=(0.0, 1.0), seed=seed, level=level)
    return Interval(mean, low=low, high=high, n=n)


def unbounded_interval(values: Sequence[float], *, seed: int, level: float = LEVEL) -> Interval:
    """The mean of values that may be any number; without width where all are equal."""
    mean = math.fsum(values) / len(values)
    low, high = mean, mean
    if any(value != values[0] for value in values):
        low, high = wider_limits(values, seed=seed, level=level)
    return Interval(mean, low, high, len(values))


def paired_difference(
    a: Sequence[float], b: Sequence[float], *, seed: int, level: float = LEVEL
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
        low, high = graded_limits(differences, bounds=(-1.0, 1.0), seed=seed, level=level)
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
