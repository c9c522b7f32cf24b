"""What is a check: a named rule that scores an answer from 0 to 1, and figures of many."""

import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import JsonValue

from tunesmith.core.errors import DataError
from tunesmith.core.numbers import pluralize

SHOWN_FAULTS = 10

Figures = Mapping[str, JsonValue]
"""What a check reports of many answers besides the mean of their scores."""


@dataclass(frozen=True, slots=True)
class Case:
    """An answer, and what it may be scored by: the data's own answer, and what was asked."""

    answer: str
    reference: str | None = None
    question: str | None = None

    @property
    def wanted(self) -> str:
        """The reference; a check that needs one is not asked without it."""
        return self.reference or ""


class CannotScore(Exception):
    """Why a check gives an answer no score, which is not the same as the score 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A rule that an answer must pass; the same answer to the same question scores the same.

    The table of kinds sets its ``name``. ``rule`` scores a case, or raises CannotScore. The rest
    only some kinds have: it ``needs`` a reference, or one with text; ``fault`` gives the reason why
    no answer at all could pass in a case, ``aggregate`` gives figures besides the mean, ``prepare``
    does for many cases at once what would take long one by one, ``obstacle`` reports before the
    training what would keep it from scoring, and ``fit`` returns the check that has learned the
    data's own answers and the base's. ``takes_references`` is false where the data's own answers
    need not pass.
    """

    name: str = ""
    rule: Callable[[Case], float]
    needs: Literal["reference", "text"] | None = None
    fault: Callable[[Case], str | None] = lambda _case: None
    aggregate: Callable[[Sequence[Case]], Figures] = lambda _cases: {}
    prepare: Callable[[Sequence[Case]], None] = lambda _cases: None
    obstacle: Callable[[], str | None] = lambda: None
    fit: "Callable[[Sequence[str], Sequence[str]], Check] | None" = None
    takes_references: bool = True

    def score(
        self, answer: str, reference: str | None = None, question: str | None = None
    ) -> float:
        """0.0 (fails) .. 1.0 (passes); 0.0 against a reference that `reference_fault` names.

        An empty answer passes nothing, unless the reference is empty too: else silence would
        pass every rule about what an answer must not hold. Raises CannotScore.
        """
        if not answer.strip() and (reference is None or reference.strip()):
            return 0.0
        if self._lacks(reference) is not None:
            return 0.0
        return self.rule(_sound(Case(answer, reference, question)))

    def reference_fault(self, reference: str | None, question: str | None = None) -> str | None:
        """Why no answer could pass against this reference; None where one can."""
        return self._lacks(reference) or self.fault(_sound(Case("", reference, question)))

    def _lacks(self, reference: str | None) -> str | None:
        """Why this is no reference to compare with; None where it is one, or none is needed."""
        if self.needs is not None and reference is None:
            return "there is no reference answer to compare with"
        is_blank = self.needs == "text" and not (reference or "").strip()
        return "the reference answer is empty" if is_blank else None


def _sound(case: Case) -> Case:
    """The case without halves of surrogate pairs, which JSON can hold and no library takes."""

    def sound(text: str | None) -> str | None:
        return text if text is None else text.encode("utf-8", "replace").decode()

    return Case(sound(case.answer) or "", sound(case.reference), sound(case.question))


def require_references(
    checks: Sequence[Check],
    references: Sequence[str | None],
    questions: Sequence[str | None] | None = None,
) -> None:
    """Raise DataError where a check could not score a row, before anything is generated for it."""
    asked = questions if questions is not None else [None] * len(references)
    faults = [
        f"check `{check.name}`, row {row}: {fault}"
        for check in checks
        for row, (reference, question) in enumerate(zip(references, asked, strict=True), start=1)
        if (fault := check.reference_fault(reference, question)) is not None
    ]
    if faults:
        more = len(faults) - SHOWN_FAULTS
        shown = [*faults[:SHOWN_FAULTS], *([f"... and {more} more"] if more > 0 else [])]
        raise DataError(
            "\n".join(shown),
            remedy="Fix these evaluation rows, or remove the check from evaluate.checks.",
        )


def composed(text: str, *, ignore_case: bool = False) -> str:
    """The text composed (NFC), its white space kept: one spelling for each 한글 syllable.

    Unicode calls composed and decomposed spellings the same text (UAX #15). Where case is ignored
    it is case-folded (and composed again, as folding can split).
    """
    text = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", text.casefold()) if ignore_case else text


def trimmed(text: str) -> str:
    """`composed`, without white space around it."""
    return composed(text).strip()


def folded(text: str, *, ignore_case: bool) -> str:
    """`trimmed`, and where case is ignored, case-folded."""
    return composed(text, ignore_case=ignore_case).strip()


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of rows in order, None where a row has none; ``errors`` says why, by row from 1.

    ``figures`` are over the rows that have a score; ``empty`` counts answers without a text.
    """

    scores: tuple[float | None, ...]
    errors: Mapping[int, str]
    figures: Figures
    empty: int = 0

    @property
    def note(self) -> str | None:
        """How many rows have a score, and the first reason why not all have one."""
        if not self.errors:
            return None
        row, why = next(iter(self.errors.items()))
        scored = len(self.scores) - len(self.errors)
        return f"{scored:,} of {pluralize(len(self.scores), 'row')} scored; row {row}: {why}"


def score_cases(check: Check, cases: Sequence[Case]) -> Scored:
    """Every case under the check; an error in it is kept for its row, never raised."""
    errors: dict[int, str] = {}
    scores: list[float | None] = []
    unready = _prepared(check, cases)
    for row, case in enumerate(cases, start=1):
        score, error = (None, unready) if unready else _score(check, case)
        scores.append(score)
        if error is not None:
            errors[row] = error
    good = [case for case, score in zip(cases, scores, strict=True) if score is not None]
    empty = sum(not case.answer.strip() for case in cases)
    return Scored(tuple(scores), errors, _figures(check, good), empty)


def _prepared(check: Check, cases: Sequence[Case]) -> str | None:
    """None where the check is ready, else why it is not."""
    try:
        check.prepare(cases)
    except Exception as error:  # of any kind: the other checks still run
        return _reason(error)
    return None


def _score(check: Check, case: Case) -> tuple[float | None, str | None]:
    """The score, or why there is none."""
    try:
        score = float(check.score(case.answer, case.reference, case.question))
    except Exception as error:  # of any kind: other rows and checks still run
        return None, _reason(error)
    if not (math.isfinite(score) and 0.0 <= score <= 1.0):
        return None, f"the score {score} does not lie within 0 and 1"
    return score, None


def _figures(check: Check, cases: Sequence[Case]) -> Figures:
    try:
        return check.aggregate(cases) if cases else {}
    except Exception as error:  # of any kind: the scores are valid without figures
        return {"error": _reason(error)}


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, CannotScore) and text else f"{type(error).__name__}: {text}"


def fit_checks(
    checks: Sequence[Check], *, own: Sequence[str], base: Sequence[str]
) -> tuple[Check, ...]:
    """The checks in order, those that learn fitted; the others as they are.

    ``own`` are answers of the training rows, ``base`` what the untuned base answers, be it to the
    very rows that are scored. A check whose fit fails gives no answer a score, and says why.
    """
    return tuple(check if check.fit is None else _fit(check, own, base) for check in checks)


def _fit(check: Check, own: Sequence[str], base: Sequence[str]) -> Check:
    assert check.fit is not None
    try:
        fitted = check.fit(own, base)
    except Exception as error:  # of any kind: the other checks still run
        fitted = unscored(f"it could not be fitted: {type(error).__name__}: {error}")
    return replace(fitted, name=check.name)


def unscored(why: str, figures: Figures | None = None) -> Check:
    """A check that gives no answer a score, as it has learned nothing."""

    def rule(_case: Case) -> float:
        raise CannotScore(why)

    return Check(rule=rule, aggregate=lambda _cases: figures or {}, takes_references=False)


FEW = 0.5
"""Below this mean score of the data's own answers a model that learns them would fail as well."""


def early_notes(
    checks: Sequence[Check], references: Sequence[str | None], questions: Sequence[str | None]
) -> Iterator[str]:
    """A line for each check that the data's own answers fail, or that cannot score now."""
    own = [
        Case(reference, reference, question)
        for reference, question in zip(references, questions, strict=True)
        if reference is not None
    ]
    for check in checks:
        if why := check.obstacle():
            yield f"check `{check.name}`: {why}; without it these scores will be missing"
        if not check.takes_references or not own:
            continue
        scored = score_cases(check, own)
        scores = [score for score in scored.scores if score is not None]
        if scored.note:
            yield f"check `{check.name}`: the data's own answers: {scored.note}"
        if not scores:
            continue
        mean, rows = sum(scores) / len(scores), pluralize(len(scores), "own answer")
        if not any(scores):
            yield (
                f"check `{check.name}`: none of the data's {rows} passes, "
                "so no model that learns them can; look at the check or at the data"
            )
        elif mean < FEW:
            yield (
                f"check `{check.name}`: the data's {rows} score {100 * mean:.0f} %, "
                "which is about the most that training on such answers can reach"
            )
