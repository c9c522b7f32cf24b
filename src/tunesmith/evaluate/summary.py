"""What did each check score in each arm, and how far is the tuned arm from every other?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.evaluate.interval import LEVEL, Interval, mean_interval, paired_difference

TUNED = "tuned"

RowScores = Sequence[float | None]
"""Scores of one arm in the order of the rows; None where a row has none."""


@dataclass(frozen=True, slots=True)
class CheckSummary:
    """One check: the score of each arm, and tuned minus each other arm on the same rows.

    An arm of which no row has a score is in neither; a difference is over rows scored in both.
    """

    name: str
    arms: Mapping[str, Interval]
    differences: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Summary:
    """Every check in the order of the config (the first decides), all intervals at one level."""

    checks: tuple[CheckSummary, ...]
    level: float


def summarise(
    scores: Mapping[str, Mapping[str, RowScores]], *, seed: int, level: float = LEVEL
) -> Summary:
    """The table of check -> arm -> scores of the same rows in the same order.

    Each check needs the arm "tuned"; any others ("base", "prompted", ...) are compared with it.
    """
    return Summary(
        tuple(_summary(name, arms, seed=seed, level=level) for name, arms in scores.items()),
        level=level,
    )


def _summary(name: str, arms: Mapping[str, RowScores], *, seed: int, level: float) -> CheckSummary:
    scored = {arm: [row for row in rows if row is not None] for arm, rows in arms.items()}
    paired = {arm: _paired(arms[TUNED], rows) for arm, rows in arms.items() if arm != TUNED}
    return CheckSummary(
        name,
        arms={
            arm: mean_interval(rows, seed=seed, level=level) for arm, rows in scored.items() if rows
        },
        differences={
            arm: paired_difference(*zip(*pairs, strict=True), seed=seed, level=level)
            for arm, pairs in paired.items()
            if pairs
        },
    )


def _paired(tuned: RowScores, other: RowScores) -> list[tuple[float, float]]:
    """The scores of the rows that have one in both arms."""
    pairs = zip(tuned, other, strict=True)
    return [(a, b) for a, b in pairs if a is not None and b is not None]
