"""How many rows would tell a difference like this one from none?"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from tunesmith.evaluate.graded import unvaried_limits
from tunesmith.evaluate.proportion import tango_limits

POWER = 0.8  # of as many new rows as are named, so many in ten tell
MOST_ROWS = 100_000  # a number beyond this is no advice

Limits = Callable[[int], tuple[float, float]]  # by number of rows


def rows_needed(
    differences: Sequence[float], *, error: float, against: float = 0.0, power: float = POWER
) -> int | None:
    """Rows with which an interval would leave ``against`` out, if rows go on as these did.

    It does so with probability ``power`` where ``error`` is the interval's on one side. Two
    digits, rounded up, and more than there are; None where the mean is ``against`` itself or more
    than `MOST_ROWS` would be needed. The mean of few rows is a guess, and so is what follows.
    """
    mean = math.fsum(differences) / len(differences)
    if mean == against:
        return None
    z = NormalDist().inv_cdf(1 - error) + NormalDist().inv_cdf(power)
    limits = _limits(differences, level=2 * NormalDist().cdf(z) - 1)

    def tell(n: int) -> bool:
        low, high = limits(n)
        return low > against if mean > against else high < against

    return _two_digits(_first(tell), more_than=len(differences))


def _limits(differences: Sequence[float], *, level: float) -> Limits:
    """Limits of the mean of n rows like these: Tango's for pairs that passed or failed."""
    n, rows = len(differences), np.asarray(differences, dtype=np.float64)
    mean, spread = float(rows.mean()), float(rows.std(ddof=1)) if n > 1 else 0.0
    if all(value in (-1, 0, 1) for value in differences):
        gained, lost = differences.count(1) / n, differences.count(-1) / n
        return lambda more: tango_limits(gained * more, lost * more, more, level=level)
    if spread == 0:
        return lambda more: unvaried_limits(mean, more, bounds=(-1.0, 1.0), level=level)
    half = NormalDist().inv_cdf((1 + level) / 2) * spread
    return lambda more: (mean - half / math.sqrt(more), mean + half / math.sqrt(more))


def _first(tell: Callable[[int], bool]) -> int | None:
    """The smallest number of rows that tells, where more never tell less."""
    low, high = 0, 1
    while not tell(high):
        low, high = high, 2 * high
        if low > MOST_ROWS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tell(middle) else (middle, high)
    return high


def _two_digits(rows: int | None, *, more_than: int) -> int | None:
    if rows is None:
        return None
    rows = max(rows, more_than + 1)
    unit = 10 ** max(0, len(str(rows)) - 2)
    rounded = -(-rows // unit) * unit
    return rounded if rounded <= MOST_ROWS else None
