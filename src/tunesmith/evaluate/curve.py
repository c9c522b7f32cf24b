"""Would more data help? Held-out losses of adapters that saw growing shares of the same rows."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tunesmith.counts import many, percent
from tunesmith.evaluate.bootstrap import RESAMPLES, bootstrap_limits
from tunesmith.evaluate.interval import LEVEL

MATTERS = 0.01  # of the loss, for a doubling of the data
Answer = Literal["yes", "no", "cannot-tell"]


@dataclass(frozen=True, slots=True)
class Point:
    """Training rows, and the mean loss of each held-out row (nats per supervised token)."""

    rows: int
    losses: Sequence[float]

    @property
    def loss(self) -> float:
        """The mean over held-out rows."""
        return statistics.mean(self.losses)


@dataclass(frozen=True, slots=True)
class CurveVerdict:
    """Whether more rows would lower the loss.

    ``gain`` is the share of the loss that the last increase of rows took away, with its limits;
    ``next_gain`` what as large an increase again may take, going by how the gains shrank.
    """

    answer: Answer
    text: str
    gain: float
    low: float
    high: float
    next_gain: float | None


def judge_curve(
    points: Sequence[Point], *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> CurveVerdict:
    """Compare the two largest shares row by row (paired bootstrap of the differences).

    *yes*: the whole interval of the gain lies above ``MATTERS``; *no*: below. Raises ValueError for
    fewer than two points, or points of different held-out rows.
    """
    if len(points) < 2 or len({len(point.losses) for point in points}) > 1:
        raise ValueError("two shares or more are compared, over the same held-out rows")
    before, last = points[-2:]
    differences = [a - b for a, b in zip(before.losses, last.losses, strict=True)]
    limits = bootstrap_limits(differences, seed=seed, level=level, resamples=resamples)
    gain, low, high = (each / before.loss for each in (statistics.mean(differences), *limits))
    told = (
        f"from {before.rows:,} to {many(last.rows, 'row')} the held-out loss fell by "
        f"{percent(gain, 1)} ({percent(low, 1)} to {percent(high, 1)})"
    )
    following = _next_gain(points, gain)
    if low > MATTERS:
        more = f" As many again may bring about {percent(following, 1)}." if following else ""
        return CurveVerdict(
            "yes", f"More data would help: {told}.{more}", gain, low, high, following
        )
    if high < MATTERS:
        text = f"More data of this kind would hardly help: {told}."
        return CurveVerdict("no", text, gain, low, high, following)
    held = many(len(last.losses), "held-out row")
    text = (
        f"Cannot tell with {held}: {told}, and the interval holds {percent(MATTERS)}. "
        f"About {_wanted(len(last.losses), gain, (low, high)):,} would do."
    )
    return CurveVerdict("cannot-tell", text, gain, low, high, following)


def _next_gain(points: Sequence[Point], gain: float) -> float | None:
    """The last gain, shrunk once more as it shrank against the one before."""
    if len(points) < 3 or gain <= 0:
        return None
    earlier = 1 - points[-2].loss / points[-3].loss
    return gain * min(1.0, gain / earlier) if earlier > 0 else gain


def _wanted(rows: int, gain: float, limits: tuple[float, float]) -> int:
    """Held-out rows with which the interval would end before ``MATTERS``, the gain being as it is.

    Its width shrinks with the square root of the rows; a gain that equals it is never told apart.
    """
    half = (limits[1] - limits[0]) / 2
    distance = max(abs(gain - MATTERS), half / 10)
    return math.ceil(rows * max(1.0, half / distance) ** 2 / 10) * 10
