"""What did tuning cost? Changes of each probe against the margins that are allowed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.comparison import holm
from tunesmith.evaluation.findings import Described, Finding, finding_text
from tunesmith.evaluation.forgetting_probes import Measure, ProbeMeasure
from tunesmith.evaluation.intervals import LEVEL, Interval

Outcome = Literal["kept", "forgotten", "unclear"]
ProbeOutcome = Outcome | Literal["absent"]
# The sign of a change for the worse.
WORSE: Mapping[Measure, int] = {"accuracy": -1, "perplexity": 1, "passed": -1}


Margins = Mapping[Measure, float]
"""What may be lost: share of the questions or prompts, rise of the perplexity as a share of the
base's.
"""


@dataclass(frozen=True, slots=True)
class ProbeFinding:
    """A probe's outcome: *kept* where its whole interval is better than the margin, *forgotten*
    where it is worse, tested together with the other probes', else *unclear*; *absent* where the
    base hardly has the ability, so that there is nothing to lose.
    """

    probe: str
    measure: Measure
    base: float
    tuned: float
    difference: Interval
    margin: float
    outcome: ProbeOutcome
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
    """Every probe's finding, at one level; ``is_whole`` unless some probes were not asked."""

    findings: tuple[ProbeFinding, ...]
    level: float
    is_whole: bool = True

    @property
    def outcome(self) -> Outcome:
        """*forgotten* where a probe is, *kept* where all are that are no part of another and that
        the base can answer; *unclear* where it can answer none.
        """
        if any(finding.outcome == "forgotten" for finding in self.findings):
            return "forgotten"
        has_any = any(finding.outcome != "absent" for finding in self.findings)
        return "kept" if has_any and not self.unclear else "unclear"

    @property
    def forgotten(self) -> tuple[ProbeFinding, ...]:
        """What lies beyond its margin; parts only where nothing whole does, or where they are
        abilities, which say more than all of them together.
        """
        found = [finding for finding in self.findings if finding.outcome == "forgotten"]
        abilities = [each for each in found if each.part and each.measure == "passed"]
        wholes = [
            each for each in found if not each.part and not (abilities and each.measure == "passed")
        ]
        return (*wholes, *abilities) or tuple(found)

    @property
    def needs_more(self) -> bool:
        """Whether more questions could tell what these leave open."""
        return any(each.measure == "accuracy" for each in self.unclear)

    @property
    def unclear(self) -> tuple[ProbeFinding, ...]:
        """What is unclear, without the parts of others."""
        return tuple(f for f in self.findings if f.outcome == "unclear" and not f.part)


def assess_forgetting(
    measured: Sequence[ProbeMeasure], margins: Margins, *, level: float = LEVEL
) -> Forgetting:
    """Every probe against its margin.

    That all are kept needs every probe's interval within its margin, and no correction; that any
    is forgotten is one of several chances to be wrong, which Holm's procedure holds together: those
    of the probes that are no part of another, and those of parts. Only one side of an interval can
    be wrong here, so that two are tested at its own level. A probe that may be looked at again has
    half of the error at each look.
    """

    def beyond_of(each: ProbeMeasure) -> Callable[[float], int]:
        margin = margins[each.measure]
        return lambda strict: int(_harm(each, max(strict, level))[0] > margin)

    families = [
        {
            str(number): beyond_of(each)
            for number, each in enumerate(measured)
            if not each.is_absent and each.part == is_part
        }
        for is_part in (False, True)
    ]
    beyond = {name for names in families for name in holm(names, level=1 - 2 * (1 - level))}
    return Forgetting(
        tuple(
            _finding(each, margins[each.measure], level=level, forgotten=str(number) in beyond)
            for number, each in enumerate(measured)
        ),
        level,
    )


def _harm(each: ProbeMeasure, level: float) -> tuple[float, float]:
    """Limits of the change for the worse."""
    found, sign = each.difference(each.level(level)), WORSE[each.measure]
    low, high = sorted((sign * found.low, sign * found.high))
    return low, high


def _finding(each: ProbeMeasure, margin: float, *, level: float, forgotten: bool) -> ProbeFinding:
    kept = _harm(each, level)[1] < margin
    outcome: ProbeOutcome = "forgotten" if forgotten else "kept" if kept else "unclear"
    if each.is_absent:
        outcome = "absent"
    limit, error = WORSE[each.measure] * margin, (1 - each.level(level)) / 2
    return ProbeFinding(
        probe=each.probe,
        measure=each.measure,
        base=each.base,
        tuned=each.tuned,
        difference=each.difference(each.level(level)),
        margin=margin,
        outcome=outcome,
        rows_needed=each.rows_needed(limit, error) if outcome == "unclear" else None,
        details=each.details,
        part=each.part,
    )


@dataclass(frozen=True, slots=True)
class AdapterScale(Described):
    """The scale (``share``) of the result, and the largest within the margins, ``tried`` (or None).

    ``probe`` is what scale 1 forgot beyond its margin: its ``measure`` differs from the base's by
    ``full``, and by ``now`` at the scale that was tried, as in a `ProbeFinding`. ``full_score`` and
    ``score`` are those of the first check there.
    """

    share: float
    tried: float | None
    probe: str
    measure: Measure
    full: float
    now: float | None = None
    full_score: float | None = None
    score: float | None = None

    def describe(self, words: Phrases) -> str:
        """Why the adapter has this scale, in words."""
        unit = "share" if self.measure == "perplexity" else "points"
        kind = "none" if self.now is None else "scaled-down" if self.share < 1 else "full"
        found = {
            f"full_{unit}": self.full,
            f"now_{unit}": self.now,
            "at_share": self.tried,
            "full_score_share": self.full_score,
            "score_share": self.score,
        }
        known = {name: value for name, value in found.items() if value is not None}
        code = kind if kind == "none" else f"{kind}-{self.measure}"
        finding = Finding(code, {"probe": self.probe, **known})
        return finding_text("scale", finding, words)

    def values(self) -> Mapping[str, object]:
        """The part `strength` of the evaluate document."""
        return asdict(self)
