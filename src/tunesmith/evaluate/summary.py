"""What did each check score in each arm, and how far is the tuned arm from every other?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.evaluate.interval import LEVEL, Interval, mean_interval, paired_difference

TUNED = "tuned"

RowScores = Sequence[float]


@dataclass(frozen=True, slots=True)
class CheckSummary:
    """One check: the score of each arm, and tuned minus each other arm on the same rows."""

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
    tuned = arms[TUNED]
    return CheckSummary(
        name,
        arms={arm: mean_interval(rows, seed=seed, level=level) for arm, rows in arms.items()},
        differences={
            arm: paired_difference(tuned, rows, seed=seed, level=level)
            for arm, rows in arms.items()
            if arm != TUNED
        },
    )
