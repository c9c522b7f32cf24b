"""How many questions does each arm answer? By the choice that it finds most likely."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.evaluate.forgetting.findings import Measured
from tunesmith.evaluate.forgetting.spans import Reader, Span
from tunesmith.evaluate.interval import Interval, differences_of, paired_difference
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
class Answered:
    """Which questions an arm got right, 1 or 0: by log-likelihood, and by that over characters.

    They are lm-eval's `acc` and `acc_norm`.
    """

    right: tuple[int, ...]
    right_norm: tuple[int, ...]


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

    def difference(level: float) -> Interval:
        return paired_difference(tuned.right, base.right, seed=seed, level=level)

    norm = paired_difference(tuned.right_norm, base.right_norm, seed=seed)
    return Measured(
        name,
        "accuracy",
        base=_share(base.right),
        tuned=_share(tuned.right),
        difference=difference,
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
    )


def _share(right: Sequence[int]) -> float:
    return sum(right) / len(right)
