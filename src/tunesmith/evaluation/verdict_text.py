"""A verdict in words: the word and its two parts first, then the numbers that they rest on."""

from collections.abc import Iterator

from tunesmith.core.language import DEFAULT
from tunesmith.core.numbers import points
from tunesmith.core.phrases import Phrases
from tunesmith.evaluation.comparison import BASE, PROMPTED, TUNED, CheckSummary
from tunesmith.evaluation.findings import arm_text, digits_needed, points_text, share_text, words_in
from tunesmith.evaluation.forgetting import ProbeFinding
from tunesmith.evaluation.intervals import Interval
from tunesmith.evaluation.verdict import Verdict

MAX_ROWS_ASKED = 5000  # of a probe; nobody gathers more
SMALL = 0.05  # a difference within it, either way, needs more rows than anybody has


def verdict_text(verdict: Verdict, *, language: str = DEFAULT) -> str:
    """One paragraph: the word and its two parts, scores, what fell, what was lost, tokens saved."""
    return text_with(verdict, words_in(language))


def text_with(verdict: Verdict, words: Phrases) -> str:
    """The same in these words."""
    return " ".join(_VerdictText(verdict, words).sentences())


def skill_text(verdict: Verdict, words: Phrases) -> str:
    """The first part in a sentence; empty where nothing was tuned or no check is given."""
    if verdict.check is None or not verdict.summary.has_tuned:
        return ""
    return _VerdictText(verdict, words).skill(verdict.check)


def elsewhere_text(verdict: Verdict, words: Phrases) -> str:
    """The second part in a sentence; empty where nothing was tuned."""
    return _VerdictText(verdict, words).elsewhere() if verdict.summary.has_tuned else ""


def against_text(verdict: Verdict, words: Phrases) -> str:
    """A verdict against an earlier run: skill, scores, and what fell."""
    text, check = _VerdictText(verdict, words), verdict.check
    if check is None or TUNED not in check.arms:
        return skill_text(verdict, words)
    return " ".join((text.skill(check), *text.scores(check)))


class _VerdictText:
    """A verdict and the words for it."""

    def __init__(self, verdict: Verdict, words: Phrases) -> None:
        self.verdict, self.words, self.phrase = verdict, words, words.phrase
        self.level = self._share(verdict.summary.level)

    def sentences(self) -> Iterator[str]:
        verdict = self.verdict
        if verdict.check is None:
            yield self.phrase("no-purpose")
            return
        if not verdict.summary.has_tuned:
            scores = ", ".join(self._arm_score(verdict.check, arm) for arm in verdict.check.arms)
            yield self.phrase("nothing-tuned", scores=scores, check=verdict.check.name)
            return
        yield self.phrase(f"word.{verdict.answer}")
        yield self.skill(verdict.check)
        yield self.elsewhere()
        yield from self.scores(verdict.check)
        yield from self._forgetting()
        yield from self._tokens()
        yield from (each.describe(self.words) for each in verdict.beside)

    def scores(self, first: CheckSummary) -> Iterator[str]:
        """What passes the check that decides, where anything was scored, and what else changed."""
        if TUNED in first.arms:
            yield self.phrase("sentence", text=self._scores(first))
        for check in self.verdict.rose:
            yield self._changed("rose", check)
        for check in self.verdict.fell:
            yield self._changed("fell", check)

    def elsewhere(self) -> str:
        """Whether the rest is kept."""
        return self.phrase(f"elsewhere.{self.verdict.elsewhere or 'not-measured'}")

    def skill(self, check: CheckSummary) -> str:
        """Whether the first check gained, over what, and else what would tell."""
        verdict, gain = self.verdict, self.verdict.gain
        for reason in ("no-scores", "nothing-to-compare"):
            if reason in verdict.reasons:
                return self.phrase(f"skill.{reason}", check=check.name)
        assert gain is not None
        if verdict.skill != "cannot-tell":
            although = verdict.skill == "no" and "better" in verdict.reasons
            change = points_text(
                gain.difference.mean, self.words, digits_needed([gain.difference.mean])
            )
            key = f"skill.{verdict.skill}{'-although' if although else ''}"
            return self.phrase(key, points=change, arm=self._arm(gain.against))
        rows, needed = gain.difference.n, gain.rows_needed
        if needed is None:
            is_small = max(-gain.difference.low, gain.difference.high) <= SMALL
            return self.phrase("skill.too-small" if is_small else "skill.tie", rows)
        return self.phrase("skill.too-few-rows", rows, needed=f"{needed:,}")

    def _scores(self, check: CheckSummary) -> str:
        """The tuned arm's score, in brackets those of the others and the difference."""
        several = len(self.verdict.summary.checks) > 1
        kind = "graded" if check.graded else "passes-check" if several else "passes"
        tuned = self.phrase(
            f"score.{kind}", score=self._share(check.arms[TUNED].mean), check=check.name
        )
        apart = (TUNED, *self.verdict.summary.beside)
        others = [arm for arm in check.arms if arm not in apart]
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

    def _forgetting(self) -> Iterator[str]:
        """What is lost, or what is unclear, and what does not count; nothing where all is kept."""
        forgetting = self.verdict.forgetting
        if forgetting is None:
            return
        if absent := [each for each in forgetting.findings if each.outcome == "absent"]:
            each = (
                self.phrase("forgetting.absent-probe", probe=f.probe, before=self._share(f.base))
                for f in absent
            )
            yield self.phrase("forgetting.absent", list=self.phrase("join").join(each))
        if forgetting.outcome == "kept" or not (forgetting.forgotten or forgetting.unclear):
            return
        findings = {"forgotten": forgetting.forgotten, "unclear": forgetting.unclear}
        listed = self.phrase("join").join(map(self._finding, findings[forgetting.outcome]))
        yield self.phrase(f"forgetting.{forgetting.outcome}", list=listed)
        if not self.verdict.is_retained:
            yield self.phrase("forgetting.remedy")

    def _finding(self, finding: ProbeFinding) -> str:
        change, margin = finding.difference, 100 * finding.margin
        if finding.measure != "perplexity":
            text = self.phrase(
                f"forgetting.{finding.measure}",
                probe=finding.probe,
                before=self._share(finding.base),
                after=self._share(finding.tuned),
                margin=self.phrase("points", round(margin), value=f"{margin:g}"),
                **self._change(change),
            )
        else:
            digits = digits_needed([change.mean, change.low, change.high])
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
        if finding.rows_needed is None or finding.rows_needed > MAX_ROWS_ASKED:
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
            yield self.phrase(key, abs(saved), arm=arm_text(gain.against, self.words))

    def _change(self, interval: Interval) -> dict[str, str]:
        """A difference in points and its limits, with as many digits as its smallest needs."""
        digits = digits_needed([interval.mean, interval.low, interval.high])
        return {
            "points": points_text(interval.mean, self.words, digits),
            "low": points(interval.low, digits),
            "high": points(interval.high, digits),
            "level": self.level,
        }

    def _share(self, share: float) -> str:
        return share_text(share, self.words)
