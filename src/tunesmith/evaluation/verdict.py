"""Was the fine-tune worth it? Skill and what is lost elsewhere, one word, the evaluate document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tunesmith.evaluation.comparison import TUNED, CheckSummary, Gain, Summary
from tunesmith.evaluation.forgetting import Forgetting, Outcome
from tunesmith.evaluation.hosted import HostedComparison

Answer = Literal["yes", "no", "cannot-tell"]
Reason = Literal[
    "better",  # the first check's gain over the best other arm lies above 0
    "not-better",  # it lies at or below 0
    "too-few-rows",  # it does neither
    "fell",  # another check fell against that arm
    "forgot",  # a probe lies beyond its margin
    "forgetting-unclear",  # a probe's interval crosses its margin
    "no-purpose",  # there is no check
    "nothing-tuned",  # only the base was asked
    "no-scores",  # no answer of the tuned arm could be scored
    "nothing-to-compare",  # there is no other arm with scores
]
NO_SKILL: tuple[Reason, ...] = ("not-better", "fell")
Elsewhere = Literal["kept", "lost", "cannot-tell"]
ELSEWHERE: Mapping[Outcome, Elsewhere] = {
    "kept": "kept",
    "forgotten": "lost",
    "unclear": "cannot-tell",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, why, and all that it rests on; every number comes from the evaluation itself.

    ``skill``: whether the first check gained and no other fell. ``elsewhere``: whether the probes
    lost no more than their margins; None where that was not measured. ``prompt_tokens`` of an arm
    are those of a mean request. Hosted models ``beside`` are compared with, and decide nothing.
    ``is_retained``: it was trained with retention.
    """

    answer: Answer
    skill: Answer
    elsewhere: Elsewhere | None
    reasons: tuple[Reason, ...]
    summary: Summary
    forgetting: Forgetting | None = None
    prompt_tokens: Mapping[str, float] = field(default_factory=dict)
    is_retained: bool = False
    beside: tuple[HostedComparison, ...] = ()

    @property
    def check(self) -> CheckSummary | None:
        """The check that decides."""
        return next(iter(self.summary.checks), None)

    @property
    def gain(self) -> Gain | None:
        """How far the tuned arm is from the best other one, by that check."""
        return self.summary.gain

    @property
    def fell(self) -> tuple[CheckSummary, ...]:
        """Other checks that fell against the arm that the gain is over."""
        changed = self.summary.changed
        return tuple(each for each in self.summary.checks if changed.get(each.name) == -1)

    @property
    def rose(self) -> tuple[CheckSummary, ...]:
        """Other checks that rose against that arm though the first did not."""
        if "better" in self.reasons:
            return ()
        changed = self.summary.changed
        return tuple(each for each in self.summary.checks if changed.get(each.name) == 1)

    def to_json(self) -> dict[str, object]:
        """What scripts may rely on, without the text."""
        gain, check, probes = self.gain, self.check, self.forgetting
        skill = {
            "check": check.name if check else None,
            "against": gain.against if gain else None,
            "difference": gain.difference.to_json() if gain else None,
            "rows_needed": gain.rows_needed if gain else None,
            "changed": dict(self.summary.changed),
        }
        elsewhere = {
            "answer": self.elsewhere,
            "lost": [each.probe for each in probes.forgotten] if probes else [],
            "unclear": [each.probe for each in probes.unclear] if probes else [],
        }
        return {
            "answer": self.answer,
            "reasons": list(self.reasons),
            "skill": {"answer": self.skill, **skill},
            "elsewhere": elsewhere,
            **skill,
            "forgetting": probes.outcome if probes else None,
        }


def decide(
    summary: Summary,
    *,
    forgetting: Forgetting | None = None,
    prompt_tokens: Mapping[str, float] | None = None,
    is_retained: bool = False,
) -> Verdict:
    """The verdict over a table of checks and what was forgotten; None: that was not measured.

    *no* where the first check gained nothing, another one fell, or a margin of forgetting is
    broken. *yes* where the first check gained and forgetting is within its margins, or was not
    measured. Only the first check can bring a yes, so that reading several of them brings no more
    of it than reading one.
    """
    reasons = (*_of_checks(summary), *_of_forgetting(forgetting))
    skill: Answer = "cannot-tell"
    if any(reason in NO_SKILL for reason in reasons):
        skill = "no"
    elif "better" in reasons:
        skill = "yes"
    elsewhere = ELSEWHERE[forgetting.outcome] if forgetting else None
    answer: Answer = "cannot-tell"
    if skill == "no" or elsewhere == "lost":
        answer = "no"
    elif skill == "yes" and elsewhere in ("kept", None):
        answer = "yes"
    return Verdict(
        answer,
        skill,
        elsewhere,
        reasons,
        summary,
        forgetting,
        prompt_tokens or {},
        is_retained=is_retained,
    )


def _of_checks(summary: Summary) -> tuple[Reason, ...]:
    if not summary.checks:
        return ("no-purpose",)
    if not summary.has_tuned:
        return ("nothing-tuned",)
    if TUNED not in summary.checks[0].arms:
        return ("no-scores",)
    if summary.gain is None:
        return ("nothing-to-compare",)
    by_sign: Mapping[int, Reason] = {1: "better", -1: "not-better", 0: "too-few-rows"}
    first = by_sign[summary.gain.sign]
    return (first, "fell") if -1 in summary.changed.values() else (first,)


def _of_forgetting(forgetting: Forgetting | None) -> tuple[Reason, ...]:
    if forgetting is None or forgetting.outcome == "kept":
        return ()
    return ("forgot",) if forgetting.outcome == "forgotten" else ("forgetting-unclear",)
