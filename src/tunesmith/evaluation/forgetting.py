"""What did tuning cost? Changes of each probe against the margins that are allowed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from tunesmith.core.phrases import DEFAULT
from tunesmith.evaluation.comparison import standing
from tunesmith.evaluation.findings import Finding, Value, finding_text, told, words_in
from tunesmith.evaluation.intervals import LEVEL, Interval

Measure = Literal["accuracy", "perplexity"]
Outcome = Literal["kept", "forgotten", "unclear"]
WORSE: Mapping[Measure, int] = {
    "accuracy": -1,
    "perplexity": 1,
}  # the sign of a change for the worse


@dataclass(frozen=True, slots=True)
class Margins:
    """What may be lost: share of the questions, rise of the perplexity as a share of the base's."""

    accuracy: float
    perplexity: float

    def of(self, measure: Measure) -> float:
        """The margin of one measure."""
        return {"accuracy": self.accuracy, "perplexity": self.perplexity}[measure]


@dataclass(frozen=True, slots=True)
class Answered:
    """Which questions an arm got right, 1 or 0: by log-likelihood, and by that over characters.

    They are lm-eval's `acc` and `acc_norm`.
    """

    right: tuple[int, ...]
    right_norm: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """A probe's measure in both arms.

    ``difference`` gives, at a level, the interval of tuned minus base (accuracy) or of tuned over
    base less 1 (perplexity); ``rows_needed`` how many rows would tell it from a value, at an error
    on one side. ``answers``: both arms', where there are questions. ``part``: another one measures
    all that this one does, so it need not be kept alone.
    """

    probe: str
    measure: Measure
    base: float
    tuned: float
    difference: Callable[[float], Interval]
    rows_needed: Callable[[float, float], int | None]
    details: Mapping[str, object]
    answers: tuple[Answered, Answered] | None = None
    part: bool = False


@dataclass(frozen=True, slots=True)
class ProbeFinding:
    """A probe judged: *kept* where its whole interval is better than the margin, *forgotten*
    where it is worse, read together with the other probes', else *unclear*.
    """

    probe: str
    measure: Measure
    base: float
    tuned: float
    difference: Interval
    margin: float
    outcome: Outcome
    rows_needed: int | None
    details: Mapping[str, object]
    part: bool = False

    def to_json(self) -> dict[str, object]:
        """The documented keys and more; `difference` of a perplexity is a share of the base's."""
        return {
            "probe": self.probe,
            "measure": self.measure,
            "base": self.base,
            "tuned": self.tuned,
            "difference": self.difference.mean,
            "low": self.difference.low,
            "high": self.difference.high,
            "n": self.difference.n,
            "margin": self.margin,
            "outcome": self.outcome,
            "rows_needed": self.rows_needed,
            **self.details,
        }


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Every probe's finding, at one level."""

    findings: tuple[ProbeFinding, ...]
    level: float

    @property
    def outcome(self) -> Outcome:
        """*forgotten* where a probe is, *kept* where all are that are no part of another."""
        if any(finding.outcome == "forgotten" for finding in self.findings):
            return "forgotten"
        return "unclear" if self.unclear else "kept"

    @property
    def forgotten(self) -> tuple[ProbeFinding, ...]:
        """What lies beyond its margin; parts only where nothing whole does."""
        found = [finding for finding in self.findings if finding.outcome == "forgotten"]
        return tuple(finding for finding in found if not finding.part) or tuple(found)

    @property
    def unclear(self) -> tuple[ProbeFinding, ...]:
        """What cannot be told, parts of others aside."""
        return tuple(f for f in self.findings if f.outcome == "unclear" and not f.part)


def judge_forgetting(
    measured: Sequence[Measured], margins: Margins, *, level: float = LEVEL
) -> Forgetting:
    """Every probe against its margin.

    That all are kept needs every probe's interval within its margin, and no correction; that any
    is forgotten is one of several chances to be wrong, which Holm's procedure holds together.
    """

    def beyond_of(each: Measured) -> Callable[[float], int]:
        return lambda strict: int(_harm(each, strict)[0] > margins.of(each.measure))

    names = {str(number): beyond_of(each) for number, each in enumerate(measured)}
    beyond = standing(names, level=level)
    return Forgetting(
        tuple(
            _finding(each, margins.of(each.measure), level=level, forgotten=str(number) in beyond)
            for number, each in enumerate(measured)
        ),
        level,
    )


def _harm(each: Measured, level: float) -> tuple[float, float]:
    """Limits of the change for the worse."""
    found, sign = each.difference(level), WORSE[each.measure]
    low, high = sorted((sign * found.low, sign * found.high))
    return low, high


def _finding(each: Measured, margin: float, *, level: float, forgotten: bool) -> ProbeFinding:
    kept = _harm(each, level)[1] < margin
    outcome: Outcome = "forgotten" if forgotten else "kept" if kept else "unclear"
    limit, error = WORSE[each.measure] * margin, (1 - level) / 2
    needed = each.rows_needed(limit, error) if outcome == "unclear" else None
    return ProbeFinding(
        each.probe,
        each.measure,
        each.base,
        each.tuned,
        each.difference(level),
        margin,
        outcome,
        needed,
        each.details,
        each.part,
    )


@dataclass(frozen=True, slots=True)
class Strength:
    """The ``share`` that stands, and the largest one within the margins, ``tried`` (None: none is).

    ``probe`` is what full strength forgot beyond its margin: its ``measure`` differs from the
    base's by ``full``, and by ``now`` at the share that was tried, as in a
    `forgetting.findings.Finding`. ``full_score`` and ``score`` are those of the first check there.
    """

    share: float
    tried: float | None
    probe: str
    measure: Measure
    full: float
    now: float | None = None
    full_score: float | None = None
    score: float | None = None

    def text(self, *, language: str = DEFAULT) -> str:
        """In plain words."""
        values: dict[str, Value] = {"probe": self.probe}
        if self.now is None or self.tried is None:
            return finding_text("strength", Finding("none", values), words_in(language))
        unit = "points" if self.measure == "accuracy" else "share"
        values |= {f"full_{unit}": self.full, f"now_{unit}": self.now}
        assert self.full_score is not None
        assert self.score is not None
        values |= {"at_share": self.tried, "full_score_share": self.full_score}
        values["score_share"] = self.score
        code = f"weakened-{self.measure}" if self.share < 1 else f"full-{self.measure}"
        return finding_text("strength", Finding(code, values), words_in(language))

    def to_json(self) -> dict[str, object]:
        """As it stands in an evaluation."""
        return {**asdict(self), **told(lambda language: self.text(language=language))}
