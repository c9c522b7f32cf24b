"""What did tuning cost? Changes of each probe against the margins that are allowed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from tunesmith.core.phrases import DEFAULT
from tunesmith.evaluation.comparison import holm
from tunesmith.evaluation.findings import Finding, Value, finding_text, told, words_in
from tunesmith.evaluation.forgetting_probes import Measure, Measured
from tunesmith.evaluation.intervals import LEVEL, Interval

Outcome = Literal["kept", "forgotten", "unclear"]
# The sign of a change for the worse.
WORSE: Mapping[Measure, int] = {"accuracy": -1, "perplexity": 1}


Margins = Mapping[Measure, float]
"""What may be lost: share of the questions, rise of the perplexity as a share of the base's."""


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
            **self.difference.to_json("difference"),
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


def assess_forgetting(
    measured: Sequence[Measured], margins: Margins, *, level: float = LEVEL
) -> Forgetting:
    """Every probe against its margin.

    That all are kept needs every probe's interval within its margin, and no correction; that any
    is forgotten is one of several chances to be wrong, which Holm's procedure holds together.
    """

    def beyond_of(each: Measured) -> Callable[[float], int]:
        return lambda strict: int(_harm(each, strict)[0] > margins[each.measure])

    names = {str(number): beyond_of(each) for number, each in enumerate(measured)}
    beyond = holm(names, level=level)
    return Forgetting(
        tuple(
            _finding(each, margins[each.measure], level=level, forgotten=str(number) in beyond)
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
    return ProbeFinding(
        probe=each.probe,
        measure=each.measure,
        base=each.base,
        tuned=each.tuned,
        difference=each.difference(level),
        margin=margin,
        outcome=outcome,
        rows_needed=each.rows_needed(limit, error) if outcome == "unclear" else None,
        details=each.details,
        part=each.part,
    )


@dataclass(frozen=True, slots=True)
class AdapterScale:
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
