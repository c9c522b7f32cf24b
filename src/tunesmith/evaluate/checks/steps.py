"""steps: does the answer show its steps, enough of them and in order, and then a final answer?"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.config.checks import StepsSettings
from tunesmith.evaluate.checks.final_number import final_number, has_final_answer, same_number
from tunesmith.evaluate.checks.protocol import Case, Check, Figures
from tunesmith.evaluate.checks.text import trimmed

LABEL = re.compile(
    r"(?mi)^[ \t>*#_-]*(?:step[ \t]+|단계[ \t]*)?(\d{1,3})[ \t]*(?:[.):]|단계)(?!\d)"
)


@dataclass(frozen=True, slots=True)
class Form:
    """How an answer is laid out."""

    steps: int
    in_order: bool
    has_final: bool


def steps_check(settings: StepsSettings) -> Check:
    """1.0 where the form is right: count, order, final answer. Correctness is a figure beside it.

    The final answer must come last: its line is no step, and no step follows it.
    """
    marker = settings.marker

    def form(case: Case) -> Form:
        numbered = settings.steps == "numbered" or (
            settings.steps == "auto" and LABEL.search(case.reference or case.answer) is not None
        )
        return _form(case.answer, numbered=numbered, marker=marker)

    def has_form(case: Case) -> bool:
        found = form(case)
        enough = settings.at_least <= found.steps <= (settings.at_most or found.steps)
        return enough and found.in_order and found.has_final

    def figures(cases: Sequence[Case]) -> Figures:
        forms = [form(case) for case in cases]
        correct = [_is_correct(case, settings) for case in cases]
        both = Counter(zip(map(has_form, cases), correct, strict=True))
        share = 1 / len(cases)
        return {
            "mean_steps": share * sum(each.steps for each in forms),
            "in_order": share * sum(each.in_order for each in forms),
            "final_answer": share * sum(each.has_final for each in forms),
            "form": share * (both[True, True] + both[True, False]),
            "correct": share * sum(correct),
            "correct_and_form": share * both[True, True],
            "correct_without_form": share * both[False, True],
        }

    return Check(
        name=settings.name or settings.kind,
        rule=lambda case: float(has_form(case)),
        aggregate=figures,
    )


def _form(text: str, *, numbered: bool, marker: str | None) -> Form:
    lines = [line for line in trimmed(text).splitlines() if line.strip()]
    finals = [i for i, line in enumerate(lines) if has_final_answer(line, marker=marker)]
    body = lines[: finals[-1]] if finals else lines
    after = lines[finals[-1] + 1 :] if finals else []
    if not numbered:
        return Form(len(body), in_order=True, has_final=bool(finals) and not after)
    # A labelled line may itself give the final answer; it is a step like the others.
    labels = [int(found[1]) for line in lines if (found := LABEL.match(line))]
    follows = any(LABEL.match(line) for line in after)
    in_order = labels == list(range(1, len(labels) + 1))
    return Form(len(labels), in_order=in_order, has_final=bool(finals) and not follows)


def _is_correct(case: Case, settings: StepsSettings) -> bool:
    """Whether the final numbers are the same; where the reference has none, the final texts."""
    if case.reference is None:
        return False
    wanted = final_number(case.reference, marker=settings.marker)
    given = final_number(case.answer, marker=settings.marker)
    if wanted is None:
        return _last_line(case.answer) == _last_line(case.reference)
    return given is not None and same_number(
        given,
        wanted,
        tolerance=settings.tolerance,
        relative_tolerance=settings.relative_tolerance,
    )


def _last_line(text: str) -> str:
    return trimmed(trimmed(text).rpartition("\n")[2])
