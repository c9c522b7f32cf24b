"""How sure is a share of rows, or the change of a share on the same rows, from their counts?"""

import math
from collections.abc import Callable
from statistics import NormalDist

BISECTIONS = 60


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
    does not reject. It leaves 0 out exactly where McNemar's test finds a change, and has width
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
