"""What is a check: a named rule that gives one answer a score from 0.0 to 1.0."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from tunesmith.errors import DataError

SHOWN_FAULTS = 10

Figures = Mapping[str, JsonValue]
"""What a check says of many answers beside the mean of their scores."""


@dataclass(frozen=True, slots=True)
class Case:
    """An answer, and what it may be judged by: the data's own answer, and what was asked."""

    answer: str
    reference: str | None = None
    question: str | None = None


class CannotScore(Exception):
    """Why a check gives an answer no score at all, which is not the same as the score 0."""


def _no_fault(case: Case) -> str | None:  # noqa: ARG001 (the default of a field)
    return None


def _no_figures(cases: Sequence[Case]) -> Figures:  # noqa: ARG001 (the default of a field)
    return {}


def _no_obstacle() -> str | None:
    return None


def _unprepared(cases: Sequence[Case]) -> None:
    """The default of a check that has nothing to do for many answers at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A rule that an answer must pass; the same answer to the same question scores the same.

    ``rule`` scores a case, or raises CannotScore. The others are what only some kinds have:
    ``fault`` says why no answer could pass in the place of the case's own, ``aggregate`` gives
    figures beside the mean, ``prepare`` does at once for many cases what would take long one by
    one, ``obstacle`` says before anything is trained what would keep it from scoring, and ``fit``
    returns the check that has learned the data's own answers and the base's.
    ``takes_references`` is false where the data's own answers need not pass.
    """

    name: str
    rule: Callable[[Case], float]
    fault: Callable[[Case], str | None] = _no_fault
    aggregate: Callable[[Sequence[Case]], Figures] = _no_figures
    prepare: Callable[[Sequence[Case]], None] = _unprepared
    obstacle: Callable[[], str | None] = _no_obstacle
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
        return self.rule(_sound(Case(answer, reference, question)))

    def reference_fault(self, reference: str | None, question: str | None = None) -> str | None:
        """Why no answer could pass against this reference; None where one can."""
        return self.fault(_sound(Case("", reference, question)))


def _sound(case: Case) -> Case:
    """The case without halves of surrogate pairs, which JSON can hold and no library takes."""
    reference = None if case.reference is None else _without_halves(case.reference)
    question = None if case.question is None else _without_halves(case.question)
    return Case(_without_halves(case.answer), reference, question)


def _without_halves(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


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
            remedy="Mend these evaluation rows, or take the check out of evaluate.checks.",
        )
