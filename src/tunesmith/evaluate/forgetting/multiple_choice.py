"""How many questions does each arm answer? By the choice that it finds most likely."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluate.forgetting.findings import Answered, Measured
from tunesmith.evaluate.forgetting.spans import Reader, Span
from tunesmith.evaluate.interval import differences_of, paired_difference
from tunesmith.evaluate.rows_needed import rows_needed

DELIMITER = " "  # between context and choice
ALL = "all questions"
Logs = NDArray[np.float32]  # log-likelihoods of a span's scored tokens, in nats


@dataclass(frozen=True, slots=True)
class Question:
    """A context, what may follow it, and the place of the one that is right."""

    context: str
    choices: tuple[str, ...]
    gold: int


@dataclass(frozen=True, slots=True)
class MultipleChoice:
    """A probe of questions with one right choice each."""

    name: str
    questions: tuple[Question, ...]

    def spans(self, reader: Reader) -> tuple[Span, ...]:
        """What is scored: each choice after its context, question by question."""
        return tuple(
            reader.continuations(
                [
                    (each.context, [DELIMITER + choice for choice in each.choices])
                    for each in self.questions
                ]
            )
        )

    def answered(self, logs: Sequence[Logs]) -> Answered:
        """An arm's answers, from the log-likelihoods of the spans; of equals the first counts."""
        rest = iter(logs)
        right, norm = [], []
        for question in self.questions:
            sums = np.array([next(rest).sum(dtype=np.float64) for _ in question.choices])
            characters = np.array([len(choice) for choice in question.choices])
            right.append(int(sums.argmax() == question.gold))
            norm.append(int((sums / characters).argmax() == question.gold))
        return Answered(tuple(right), tuple(norm))

    def measured(self, base: Sequence[Logs], tuned: Sequence[Logs], *, seed: int) -> Measured:
        """Both arms compared."""
        return compare_answers(self.name, self.answered(base), self.answered(tuned), seed=seed)


def compare_answers(name: str, base: Answered, tuned: Answered, *, seed: int) -> Measured:
    """Shares of questions answered right, tuned minus base on the same questions."""
    differences = differences_of(tuned.right, base.right)
    norm = paired_difference(tuned.right_norm, base.right_norm, seed=seed)
    return Measured(
        name,
        "accuracy",
        base=_share(base.right),
        tuned=_share(tuned.right),
        difference=lambda level: paired_difference(tuned.right, base.right, seed=seed, level=level),
        rows_needed=lambda limit, error: rows_needed(differences, error=error, against=limit),
        details={
            "accuracy_norm": {
                "base": _share(base.right_norm),
                "tuned": _share(tuned.right_norm),
                "difference": norm.mean,
                "low": norm.low,
                "high": norm.high,
            }
        },
        answers=(base, tuned),
    )


def with_all_questions(measured: Sequence[Measured], *, seed: int) -> list[Measured]:
    """The probes, and the questions of all of them as one where several have questions.

    One probe of a few hundred questions cannot tell a few points; all of them together can.
    """
    answers = [each.answers for each in measured if each.answers is not None]
    if len(answers) < 2:
        return list(measured)
    base, tuned = (_joined([both[arm] for both in answers]) for arm in (0, 1))
    parts = [replace(each, part=each.answers is not None) for each in measured]
    return [*parts, compare_answers(ALL, base, tuned, seed=seed)]


def _joined(answers: Sequence[Answered]) -> Answered:
    return Answered(
        tuple(one for each in answers for one in each.right),
        tuple(one for each in answers for one in each.right_norm),
    )


def _share(right: Sequence[int]) -> float:
    return sum(right) / len(right)
