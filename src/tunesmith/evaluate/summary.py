"""What did each check score in each arm, and how far is the tuned arm from the others?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.evaluate.best_arm import Gain, gain_over_best
from tunesmith.evaluate.bootstrap import RESAMPLES
from tunesmith.evaluate.interval import (
    LEVEL,
    Interval,
    is_binary,
    mean_interval,
    paired_difference,
)
from tunesmith.evaluate.together import standing

TUNED = "tuned"

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
    ``changed`` names the other checks that rose (1) or fell (-1) against that arm, read together;
    where the first did not rise, those that rose are read together with it too, so that several
    checks hardly bring more false gains than one.
    """

    checks: tuple[CheckSummary, ...]
    level: float
    gain: Gain | None = None
    changed: Mapping[str, int] = field(default_factory=dict)
    has_tuned: bool = True


def summarise(
    scores: Mapping[str, Mapping[str, RowScores]],
    *,
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Summary:
    """The table of check -> arm -> scores of the same rows in the same order.

    Other arms ("base", "prompted", ...) are compared with the arm "tuned", where there is one.
    ``seed`` and ``resamples`` are the bootstrap's.
    """
    draws = {"seed": seed, "resamples": resamples}
    checks = tuple(_summary(name, arms, draws, level) for name, arms in scores.items())
    first = _scored(next(iter(scores.values()), {}))
    others = {arm: rows for arm, rows in first.items() if arm != TUNED}
    has_tuned = any(TUNED in arms for arms in scores.values()) or not scores
    if TUNED not in first or not others:
        return Summary(checks, level, has_tuned=has_tuned)
    gain = gain_over_best(first[TUNED], others, level=level, **draws)
    return Summary(checks, level, gain, _changed(scores, gain, draws, level))


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


def _summary(
    name: str, arms: Mapping[str, RowScores], draws: Mapping[str, int], level: float
) -> CheckSummary:
    scored = {arm: [row for row in rows if row is not None] for arm, rows in arms.items()}
    tuned = {TUNED: arms[TUNED]} if TUNED in arms else {}
    paired = {arm: _scored({**tuned, arm: rows}) for arm, rows in arms.items()}
    return CheckSummary(
        name,
        arms={
            arm: mean_interval(rows, level=level, **draws) for arm, rows in scored.items() if rows
        },
        differences={
            arm: paired_difference(both[TUNED], both[arm], level=level, **draws)
            for arm, both in paired.items()
            if arm != TUNED and len(both) > 1
        },
        graded=not all(is_binary(rows) for rows in scored.values()),
    )


def _changed(
    scores: Mapping[str, Mapping[str, RowScores]],
    gain: Gain,
    draws: Mapping[str, int],
    level: float,
) -> dict[str, int]:
    """Which checks behind the first changed against the gain's arm, where it has them."""

    def change_of(arms: Mapping[str, list[float]]) -> Callable[[float], int]:
        def change(strict: float) -> int:
            found = paired_difference(arms[TUNED], arms[gain.against], level=strict, **draws)
            return 1 if found.low > 0 else -1 if found.high < 0 else 0

        return change

    changes = {}
    for name, arms in scores.items():
        both = _scored({arm: arms[arm] for arm in (TUNED, gain.against) if arm in arms})
        if len(both) > 1:
            changes[name] = change_of(both)
    others = dict(list(changes.items())[1:])
    found = standing(others, level=level)
    rose = found if gain.sign > 0 else standing(changes, level=level)
    return {
        name: sign
        for name in others
        if (sign := found.get(name, 0)) < 0 or (sign := rose.get(name, 0)) > 0
    }
