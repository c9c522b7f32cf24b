"""How consistent is each arm, and is the tuned one more so than the others?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tunesmith.evaluate.bootstrap import RESAMPLES
from tunesmith.evaluate.consistency.agreement import MEASURES, Agreement
from tunesmith.evaluate.interval import LEVEL, Interval, mean_interval, paired_difference
from tunesmith.evaluate.summary import TUNED

Arms = Mapping[str, Sequence[Agreement]]  # arm -> the same questions in the same order
Table = Mapping[str, Mapping[str, Interval]]  # arm -> measure


@dataclass(frozen=True, slots=True)
class Repeats:
    """One way of asking again: each arm's measures, and tuned minus each other arm's.

    A measure that no question has in an arm is left out; a difference is over questions that
    have it in both.
    """

    arms: Table
    differences: Table
    questions: int

    def to_json(self) -> dict[str, object]:
        """Arm -> measure -> score, low, high, n; differences likewise."""
        return {
            "questions": self.questions,
            "arms": {arm: _scores(each) for arm, each in self.arms.items()},
            "differences": {
                arm: {name: asdict(interval) for name, interval in each.items()}
                for arm, each in self.differences.items()
            },
        }


def measure_repeats(
    arms: Arms, *, seed: int, level: float = LEVEL, resamples: int = RESAMPLES
) -> Repeats:
    """All intervals, by the bootstrap over questions (0/1 values: Wilson's and Tango's).

    Answers to one question hang together, so questions are what is drawn, never answers. Where
    the arms were asked different numbers of questions the first ones that all were asked count.
    Raises ValueError without a question.
    """
    count = min((len(rows) for rows in arms.values()), default=0)
    if not count:
        raise ValueError("no question was asked of every arm")
    draws = {"seed": seed, "resamples": resamples}
    rows = {arm: tuple(each[:count]) for arm, each in arms.items()}
    table = {
        arm: {
            name: mean_interval(values, level=level, **draws)
            for name in MEASURES
            if (values := [v for v in _column(each, name) if v is not None])
        }
        for arm, each in rows.items()
    }
    differences = {
        arm: _differences(rows[TUNED], each, draws, level)
        for arm, each in rows.items()
        if arm != TUNED and TUNED in rows
    }
    return Repeats(table, differences, count)


def _differences(
    tuned: Sequence[Agreement],
    other: Sequence[Agreement],
    draws: Mapping[str, int],
    level: float,
) -> dict[str, Interval]:
    found = {}
    for name in MEASURES:
        columns = zip(_column(tuned, name), _column(other, name), strict=True)
        both = [(a, b) for a, b in columns if a is not None and b is not None]
        if both:
            a, b = zip(*both, strict=True)
            found[name] = paired_difference(a, b, level=level, **draws)
    return found


def _column(rows: Sequence[Agreement], name: str) -> list[float | None]:
    return [getattr(row, name) for row in rows]


def _scores(measures: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    return {
        name: {"score": each.mean, "low": each.low, "high": each.high, "n": each.n}
        for name, each in measures.items()
    }
