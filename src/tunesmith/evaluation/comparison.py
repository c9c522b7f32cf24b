"""What did each check score in each arm, and how far is the tuned arm from the others?

The best of several arms looks better than it is: its luck is part of why it was chosen. So
- the lower limit is the least of all arms' own. Tuned is above the best only if it is above each,
  and a claim that needs every one of several tests needs no correction (Berger 1982,
  Technometrics 24:295).
- the upper limit is the least of those of arms that may be the best, each at its part of the
  error (Bonferroni). An arm that is clearly below another has no part in it.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import NormalDist

import numpy as np

from tunesmith.evaluation.intervals import (
    LEVEL,
    Interval,
    differences_of,
    is_binary,
    mean_interval,
    paired_difference,
    tango_limits,
    unvaried_limits,
)

Change = Callable[[float], int]  # at a level: 1 rose, -1 fell, 0 neither


def holm(changes: Mapping[str, Change], *, level: float) -> dict[str, int]:
    """The changes that remain, by name: 1 rose, -1 fell.

    Each function says what an interval of the level that it is given leaves out. The chance that
    any change is named where there is none is 1 - level at most, however the rows of one check
    correlate with those of another (Holm 1979, Scand. J. Stat. 6:65); Bonferroni's rule
    would find fewer.
    """
    waiting, found = dict(changes), dict[str, int]()
    while waiting:
        strict = 1 - (1 - level) / len(waiting)
        now = {name: sign for name, change in waiting.items() if (sign := change(strict))}
        if not now:
            break
        found |= now
        waiting = {name: change for name, change in waiting.items() if name not in now}
    return {name: found[name] for name in changes if name in found}


POWER = 0.8  # probability that so many new rows show the difference
MAX_ROWS = 100_000  # a larger number is no advice

Limits = Callable[[int], tuple[float, float]]  # by number of rows


def rows_needed(
    differences: Sequence[float], *, error: float, against: float = 0.0, power: float = POWER
) -> int | None:
    """Rows with which an interval would exclude ``against``, if further rows are like these.

    It does so with probability ``power`` where ``error`` is the interval's on one side. Two
    digits, rounded up, and more than there are; None where the mean is ``against`` itself or more
    than `MAX_ROWS` would be needed. The mean of few rows is a guess, and so is this number.
    """
    mean = math.fsum(differences) / len(differences)
    if mean == against:
        return None
    z = NormalDist().inv_cdf(1 - error) + NormalDist().inv_cdf(power)
    limits = _limits(differences, level=2 * NormalDist().cdf(z) - 1)

    def excludes(n: int) -> bool:
        low, high = limits(n)
        return low > against if mean > against else high < against

    return _two_digits(_first(excludes), more_than=len(differences))


def smallest_difference(rows: int, *, level: float = LEVEL) -> float | None:
    """The smallest gain, as a share, whose interval over so many rows lies above 0, at best.

    At best: of answers that pass or fail some are gained and none is lost. None where even all of
    them would not show it.
    """
    gains = (gained for gained in range(1, rows + 1) if _shows(gained, rows, level))
    gained = next(gains, None)
    return None if gained is None else gained / rows


def _shows(gained: int, rows: int, level: float) -> bool:
    return tango_limits(gained, 0, rows, level=level)[0] > 0


def rows_to_show(difference: float, *, level: float = LEVEL) -> int | None:
    """The fewest rows with which such a gain shows at best; None beyond `MAX_ROWS`."""

    def shows(rows: int) -> bool:
        least = smallest_difference(rows, level=level)
        return least is not None and least <= difference

    return _first(shows)


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


def _first(excludes: Callable[[int], bool]) -> int | None:
    """The smallest number of rows that is enough, where more rows are enough too."""
    place = bisect_left(range(1, MAX_ROWS + 1), True, key=excludes)
    return place + 1 if place < MAX_ROWS else None


def _two_digits(rows: int | None, *, more_than: int) -> int | None:
    if rows is None:
        return None
    rows = max(rows, more_than + 1)
    unit = 10 ** max(0, len(str(rows)) - 2)
    rounded = -(-rows // unit) * unit
    return rounded if rounded <= MAX_ROWS else None


SCREENING = 0.1  # part of the upper limit's error that is spent on excluding arms

ArmScores = Sequence[float]
Compare = Callable[..., Interval]


@dataclass(frozen=True, slots=True)
class Gain:
    """Tuned minus the best other arm, and the arm that scored best on these rows.

    ``rows_needed`` would separate it from 0; None where these do, or no practical number would.
    """

    against: str
    difference: Interval
    rows_needed: int | None

    @property
    def sign(self) -> int:
        """1 where the whole interval lies above 0, -1 where it lies at or below, else 0."""
        return 1 if self.difference.low > 0 else -1 if self.difference.high <= 0 else 0


def gain_over_best(
    tuned: ArmScores,
    others: Mapping[str, ArmScores],
    *,
    seed: int,
    level: float = LEVEL,
) -> Gain:
    """Compare with the best of ``others``, scores within 0..1 of the same rows in the same order.

    Of arms with the same mean the first counts as the best. Raises ValueError without others, or
    for scores that are none.
    """
    if not others:
        raise ValueError("nothing to compare with: there is no other arm")
    compare = partial(paired_difference, seed=seed)
    error = (1 - level) / 2
    plain = {arm: compare(tuned, rows, level=level) for arm, rows in others.items()}
    best = min(plain, key=lambda arm: plain[arm].mean)
    rivals, share = _rivals(best, others, compare, error=error)
    highs = [compare(tuned, others[arm], level=1 - 2 * share).high for arm in rivals]
    difference = Interval(
        plain[best].mean,
        low=min(each.low for each in plain.values()),
        high=min(highs) if len(others) > 1 else plain[best].high,
        n=plain[best].n,
    )
    needed = None
    if difference.mean > 0 >= difference.low:
        needed = _most([_rows(tuned, rows, error=error) for rows in others.values()])
    elif difference.mean < 0 < difference.high:
        needed = _rows(tuned, others[best], error=share)
    return Gain(best, difference, needed)


def _rivals(
    best: str, others: Mapping[str, ArmScores], compare: Compare, *, error: float
) -> tuple[list[str], float]:
    """Arms that may be the best one, and each one's part of the error."""
    if len(others) == 1:
        return [best], error
    spent = SCREENING * error
    level = 1 - 2 * spent / (len(others) - 1)
    rivals = [
        arm
        for arm, rows in others.items()
        if arm == best or compare(others[best], rows, level=level).low <= 0
    ]
    return rivals, (error - spent) / len(rivals)


def _rows(tuned: ArmScores, other: ArmScores, *, error: float) -> int | None:
    return rows_needed(differences_of(tuned, other), error=error)


def _most(rows: Sequence[int | None]) -> int | None:
    """The largest number, as all arms must be separated; None where one never would be."""
    known = [each for each in rows if each is not None]
    return max(known) if len(known) == len(rows) else None


BASE, PROMPTED, EXAMPLES, TUNED = "base", "prompted", "examples", "tuned"  # the arms
PREVIOUS = "previous"  # an earlier run, asked the same

RowScores = Sequence[float | None]
"""Scores of one arm in the order of the rows; None where a row has none."""


@dataclass(frozen=True, slots=True)
class CheckSummary:
    """One check: the score of each arm, and tuned minus each other arm on the same rows.

    An arm of which no row has a score is in neither; a difference is over rows scored in both.
    ``graded``: its scores are not all 0 or 1.
    """

    name: str
    arms: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    graded: bool = False


@dataclass(frozen=True, slots=True)
class Summary:
    """Every check in the order of the config (the first decides), all intervals at one level.

    ``has_tuned`` is false where nothing was tuned: what remains are scores of the base.

    ``gain`` is the first check's, over the best other arm; None where there is no other arm.
    ``changed`` names the other checks that rose (1) or fell (-1) against that arm, tested together;
    where the first did not rise, those that rose are tested together with it too, so that several
    checks hardly bring more false gains than one. Arms ``beside`` have no part in all this.
    """

    checks: tuple[CheckSummary, ...]
    level: float
    gain: Gain | None = None
    changed: Mapping[str, int] = field(default_factory=dict)
    has_tuned: bool = True
    beside: tuple[str, ...] = ()


def summarize(
    scores: Mapping[str, Mapping[str, RowScores]],
    *,
    seed: int,
    level: float = LEVEL,
    beside: tuple[str, ...] = (),
) -> Summary:
    """The table of check -> arm -> scores of the same rows in the same order.

    Other arms ("base", "prompted", ...) are compared with the arm "tuned", where there is one.
    Those ``beside`` are compared too, and take no part in the gain. ``seed`` is the bootstrap's.
    """
    checks = tuple(
        summarize_check(name, arms, level=level, seed=seed) for name, arms in scores.items()
    )
    decides = next(iter(scores.values()), {})
    first = _scored({arm: rows for arm, rows in decides.items() if arm not in beside})
    others = {arm: rows for arm, rows in first.items() if arm != TUNED}
    has_tuned = any(TUNED in arms for arms in scores.values()) or not scores
    if TUNED not in first or not others:
        return Summary(checks, level, has_tuned=has_tuned, beside=beside)
    gain = gain_over_best(first[TUNED], others, level=level, seed=seed)
    return Summary(checks, level, gain, _changed(scores, gain, seed, level), beside=beside)


def _scored(arms: Mapping[str, RowScores]) -> dict[str, list[float]]:
    """The arms that have scores, over the rows that have one in all of them."""
    there = [arm for arm, rows in arms.items() if any(row is not None for row in rows)]
    found: dict[str, list[float]] = {arm: [] for arm in there}
    for row in zip(*(arms[arm] for arm in there), strict=True):
        values = [value for value in row if value is not None]
        if len(values) == len(there):
            for arm, value in zip(there, values, strict=True):
                found[arm].append(value)
    return {arm: rows for arm, rows in found.items() if rows}


def summarize_check(
    name: str, arms: Mapping[str, RowScores], *, seed: int, level: float = LEVEL
) -> CheckSummary:
    """One check's scores of the same rows in the same order; ``seed`` is the bootstrap's."""
    scored = {arm: [row for row in rows if row is not None] for arm, rows in arms.items()}
    tuned = {TUNED: arms[TUNED]} if TUNED in arms else {}
    paired = {arm: _scored({**tuned, arm: rows}) for arm, rows in arms.items()}
    return CheckSummary(
        name,
        arms={
            arm: mean_interval(rows, level=level, seed=seed) for arm, rows in scored.items() if rows
        },
        differences={
            arm: paired_difference(both[TUNED], both[arm], level=level, seed=seed)
            for arm, both in paired.items()
            if arm != TUNED and len(both) > 1
        },
        graded=not all(is_binary(rows) for rows in scored.values()),
    )


def _changed(
    scores: Mapping[str, Mapping[str, RowScores]],
    gain: Gain,
    seed: int,
    level: float,
) -> dict[str, int]:
    """Which checks after the first changed against the gain's arm, where it has them."""

    def change(arms: Mapping[str, list[float]], strict: float) -> int:
        found = paired_difference(arms[TUNED], arms[gain.against], level=strict, seed=seed)
        return 1 if found.low > 0 else -1 if found.high < 0 else 0

    both = {
        name: _scored({arm: arms[arm] for arm in (TUNED, gain.against) if arm in arms})
        for name, arms in scores.items()
    }
    changes = {name: partial(change, arms) for name, arms in both.items() if len(arms) > 1}
    others = dict(list(changes.items())[1:])
    found = holm(others, level=level)
    rose = found if gain.sign > 0 else holm(changes, level=level)
    return {
        name: sign
        for name in others
        if (sign := found.get(name, 0)) < 0 or (sign := rose.get(name, 0)) > 0
    }
