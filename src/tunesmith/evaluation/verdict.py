"""Was the fine-tune worth it? Yes, no, or cannot tell, with reasons, and the evaluate document."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from tunesmith.config import RunConfig
from tunesmith.core.language import DEFAULT
from tunesmith.core.numbers import points
from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.answers import Answers
from tunesmith.evaluation.arms import BASE, PROMPTED, BaseArms
from tunesmith.evaluation.comparison import TUNED, CheckSummary, Gain, Summary
from tunesmith.evaluation.costs import BreakEven
from tunesmith.evaluation.findings import arm_text, in_languages, points_text, share_text, words_in
from tunesmith.evaluation.forgetting import Forgetting, ProbeFinding
from tunesmith.evaluation.intervals import Interval

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
AGAINST: tuple[Reason, ...] = ("not-better", "fell", "forgot")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, why, and all that it rests on; every number comes from the evaluation itself.

    ``prompt_tokens`` of an arm are those of a mean request.
    """

    answer: Answer
    reasons: tuple[Reason, ...]
    summary: Summary
    forgetting: Forgetting | None = None
    prompt_tokens: Mapping[str, float] = field(default_factory=dict)

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
        gain, check = self.gain, self.check
        return {
            "answer": self.answer,
            "reasons": list(self.reasons),
            "check": check.name if check else None,
            "against": gain.against if gain else None,
            "difference": gain.difference.to_json() if gain else None,
            "rows_needed": gain.rows_needed if gain else None,
            "changed": dict(self.summary.changed),
            "forgetting": self.forgetting.outcome if self.forgetting else None,
        }


def decide(
    summary: Summary,
    *,
    forgetting: Forgetting | None = None,
    prompt_tokens: Mapping[str, float] | None = None,
) -> Verdict:
    """The verdict over a table of checks and what was forgotten; None: that was not measured.

    *no* where anything counts against it: the first check gained nothing, another one fell, or a
    margin of forgetting is broken. *yes* where the first check gained and forgetting is within
    its margins. Only the first check can bring a yes, so that reading several of them brings no
    more of it than reading one.
    """
    reasons = (*_of_checks(summary), *_of_forgetting(forgetting))
    answer: Answer = "cannot-tell"
    if any(reason in AGAINST for reason in reasons):
        answer = "no"
    elif reasons == ("better",):
        answer = "yes"
    return Verdict(answer, reasons, summary, forgetting, prompt_tokens or {})


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


def verdict_text(verdict: Verdict, *, language: str = DEFAULT) -> str:
    """One paragraph: the answer with its numbers, what fell, what was forgotten, tokens saved."""
    return _text(verdict, words_in(language))


def _text(verdict: Verdict, words: Phrases) -> str:
    return " ".join(_VerdictText(verdict, words).sentences())


class _VerdictText:
    """A verdict and the words for it."""

    def __init__(self, verdict: Verdict, words: Phrases) -> None:
        self.verdict, self.words, self.phrase = verdict, words, words.phrase
        self.level = self._share(verdict.summary.level)

    def sentences(self) -> Iterator[str]:
        yield self._opening()
        if not self.verdict.summary.has_tuned:
            return
        for check in self.verdict.rose:
            yield self._changed("rose", check)
        for check in self.verdict.fell:
            yield self._changed("fell", check)
        if self.verdict.forgetting is None:
            yield self.phrase("forgetting.not-measured")
        else:
            yield self._forgetting()
        yield from self._tokens()

    def _opening(self) -> str:
        verdict, gain = self.verdict, self.verdict.gain
        if verdict.check is None:
            return self.phrase("opening.no-purpose")
        if "nothing-tuned" in verdict.reasons:
            scores = ", ".join(self._arm_score(verdict.check, arm) for arm in verdict.check.arms)
            return self.phrase("opening.nothing-tuned", scores=scores, check=verdict.check.name)
        if "no-scores" in verdict.reasons:
            return self.phrase("opening.no-scores", check=verdict.check.name)
        scores = self._scores(verdict.check)
        if gain is None:
            return self.phrase("opening.nothing-to-compare", scores=scores)
        if verdict.answer != "cannot-tell" or "too-few-rows" not in verdict.reasons:
            key = f"opening.{verdict.answer}"
            although = verdict.answer != "yes" and "better" in verdict.reasons
            return self.phrase(f"{key}-although" if although else key, scores=scores)
        rows = gain.difference.n
        if gain.rows_needed is None:
            return self.phrase("opening.no-number", rows, scores=scores)
        alone = "" if verdict.reasons == ("too-few-rows",) else "-of-it"
        needed = f"{gain.rows_needed:,}"
        return self.phrase(f"opening.too-few-rows{alone}", rows, needed=needed, scores=scores)

    def _scores(self, check: CheckSummary) -> str:
        """The tuned arm's score, in brackets those of the others and the difference."""
        several = len(self.verdict.summary.checks) > 1
        kind = "graded" if check.graded else "passes-check" if several else "passes"
        tuned = self.phrase(
            f"score.{kind}", score=self._share(check.arms[TUNED].mean), check=check.name
        )
        others = [arm for arm in check.arms if arm != TUNED]
        gain = self.verdict.gain
        if gain is None:
            return tuned
        number = {1: "one", 2: "two"}.get(len(others), "more")
        return self.phrase(
            "scores",
            tuned=tuned,
            others=", ".join(self._arm_score(check, arm) for arm in others),
            difference=self.phrase(f"difference.{number}", **self._change(gain.difference)),
        )

    def _arm_score(self, check: CheckSummary, arm: str) -> str:
        score = self._share(check.arms[arm].mean)
        return self.phrase("arm-score", arm=self._arm(arm), score=score)

    def _arm(self, arm: str) -> str:
        """An arm by the name that a user knows; the prompted one with its length."""
        tokens = self.verdict.prompt_tokens
        if arm == PROMPTED and arm in tokens and BASE in tokens:
            longer = round(tokens[arm] - tokens[BASE])
            return self.phrase("arm.prompted-tokens", longer)
        return arm_text(arm, self.words)

    def _changed(self, how: str, check: CheckSummary) -> str:
        gain = self.verdict.gain
        assert gain is not None
        return self.phrase(
            how,
            check=check.name,
            arm=self._arm(gain.against),
            before=self._share(check.arms[gain.against].mean),
            after=self._share(check.arms[TUNED].mean),
            **self._change(check.differences[gain.against]),
        )

    def _forgetting(self) -> str:
        forgetting = self.verdict.forgetting
        assert forgetting is not None
        found = {"forgotten": forgetting.forgotten, "unclear": forgetting.unclear}
        findings = found.get(forgetting.outcome, ())
        listed = self.phrase("join").join(self._finding(each) for each in findings)
        return self.phrase(f"forgetting.{forgetting.outcome}", list=listed)

    def _finding(self, finding: ProbeFinding) -> str:
        change, margin = finding.difference, 100 * finding.margin
        if finding.measure == "accuracy":
            text = self.phrase(
                "forgetting.accuracy",
                probe=finding.probe,
                before=self._share(finding.base),
                after=self._share(finding.tuned),
                margin=self.phrase("points", round(margin), value=f"{margin:g}"),
                **self._change(change),
            )
        else:
            digits = _digits([change.mean, change.low, change.high])
            rise, low, high = (
                self.phrase("percent", value=points(value, digits))
                for value in (change.mean, change.low, change.high)
            )
            text = self.phrase(
                "forgetting.perplexity",
                probe=finding.probe,
                rise=rise,
                low=low,
                high=high,
                level=self.level,
                margin=self._share(finding.margin),
            )
        if finding.rows_needed is None:
            return text
        return self.phrase("forgetting.needed", finding=text, needed=f"{finding.rows_needed:,}")

    def _tokens(self) -> Iterator[str]:
        """How much shorter a request is than with the arm that the gain is over."""
        gain, tokens = self.verdict.gain, self.verdict.prompt_tokens
        if gain is None or not {TUNED, gain.against} <= tokens.keys():
            return
        saved = round(tokens[gain.against] - tokens[TUNED])
        if saved:
            key = "tokens.shorter" if saved > 0 else "tokens.longer"
            yield self.phrase(key, abs(saved))

    def _change(self, interval: Interval) -> dict[str, str]:
        """A difference in points and its limits, with as many digits as its smallest needs."""
        digits = _digits([interval.mean, interval.low, interval.high])
        return {
            "points": points_text(interval.mean, self.words, digits),
            "low": points(interval.low, digits),
            "high": points(interval.high, digits),
            "level": self.level,
        }

    def _share(self, share: float) -> str:
        return share_text(share, self.words)


def _digits(shares: Sequence[float]) -> int:
    """The fewest digits after the point with which no difference is rounded to none."""
    smallest = min((abs(100 * share) for share in shares if share), default=1.0)
    return next((digits for digits in range(3) if smallest >= 10.0**-digits), 3)


# Keys of further measures; each is null where it was not measured.
MEASURES = ("degeneration", "scale", "consistency", "knowledge", "overfitting", "capacity")
EARLIER = {"scale": "strength", "overfitting": "overtuning"}  # also written, for one version


def part_of(document: Mapping[str, Any], name: str) -> Any:
    """A measure's part of an evaluate document, of an earlier version's too; None without one."""
    return document.get(name, document.get(EARLIER.get(name, name)))


def document(
    answers: Answers,
    verdict: Verdict,
    base: BaseArms,
    *,
    config: RunConfig,
    cost: BreakEven | None = None,
    parts: Mapping[str, object] = MappingProxyType({}),
) -> dict[str, object]:
    """What evaluation.json holds and `evaluate --json` prints; ``parts`` are those of ``MEASURES``.

    `report` is set by who writes it.
    """
    texts = in_languages(lambda words: _text(verdict, words))
    head = {"answer": verdict.answer, **texts, "goal": config.goal}
    forgetting = verdict.forgetting
    return {
        "verdict": {**head, **verdict.to_json()},
        "about": {
            "goal": config.goal,
            "model": config.model,
            "method": config.method.kind,
            "data": config.data.eval,
            "evaluate": config.evaluate.model_dump(mode="json", by_alias=True),
        },
        **answers.to_json(),
        "left_out": dict(base.left_out),
        "prompts": {
            "baseline_prompt": base.instruction,
            "examples": [
                {"messages": [[m.role, m.content] for m in row.messages], "line": row.line}
                | {"file": row.file}
                for row in base.examples
            ],
        },
        "cost": asdict(cost) if cost else None,
        "forgetting": [each.to_json() for each in forgetting.findings] if forgetting else None,
        **{name: parts.get(name) for name in MEASURES},
        **{earlier: parts.get(name) for name, earlier in EARLIER.items()},
        "report": None,
    }
