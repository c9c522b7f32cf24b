"""Which questions are answered in different ways."""

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.text import Seen, digest, fold

ROWS_PER_ANSWER = 3  # from which on answers are choices, and two to a question cannot both be right

CHOICES = "the model cannot give both"
TEXTS = "fine where each is right, for the model learns a mix of them"


class Contradictions:
    """Rows that ask the same under the same system prompt, and are answered differently."""

    def __init__(self) -> None:
        self._questions, self._answers = array("Q"), array("Q")

    def observe(self, row: Seen) -> None:
        """Keep 64 bits of what is asked and of what is answered."""
        under = digest(fold(row.system)) if row.system else 0
        self._questions.append(row.question_key ^ under)
        self._answers.append(row.answer_key)

    def findings(self, out: NDArray[np.bool_] | None = None) -> Iterator[Finding]:
        """Every row of a question with more than one answer, those aside that are ``out``."""
        number, questions, answers = self._arrays(out)
        rows = number[_differing(questions, answers)]
        if len(rows):
            is_choice = ROWS_PER_ANSWER * len(np.unique(answers)) <= len(answers)
            kind = CHOICES if is_choice else TEXTS
            yield Finding(
                "contradictions", f"the same question has different answers: {kind}", rows
            )

    def outvoted(self, out: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Rows that an answer of more than half of the question's rows contradicts; else all."""
        number, questions, answers = self._arrays(out)
        _, question, rows_of = np.unique(questions, return_inverse=True, return_counts=True)
        _, pair, votes = np.unique(
            np.stack([questions, answers]), axis=1, return_inverse=True, return_counts=True
        )
        has_majority = 2 * votes[pair] > rows_of[question]
        return number[_differing(questions, answers) & ~has_majority]

    def _arrays(
        self, out: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Numbers of the rows that are not ``out``, their questions and their answers."""
        kept = np.flatnonzero(~out) if out is not None else np.arange(len(self._questions))
        questions = np.array(self._questions, dtype=np.uint64)[kept]
        return kept, questions, np.array(self._answers, dtype=np.uint64)[kept]


def _differing(questions: NDArray[np.uint64], answers: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether each row's question has another answer elsewhere, bool [N]."""
    order = np.argsort(questions, kind="stable")
    sorted_questions, sorted_answers = questions[order], answers[order]
    begins = np.flatnonzero(np.concatenate([[True], sorted_questions[1:] != sorted_questions[:-1]]))
    differs = np.zeros(len(questions), dtype=bool)
    if len(questions):
        low = np.minimum.reduceat(sorted_answers, begins)
        high = np.maximum.reduceat(sorted_answers, begins)
        sizes = np.diff(np.concatenate([begins, [len(questions)]]))
        differs[order] = np.repeat(low != high, sizes)
    return differs
