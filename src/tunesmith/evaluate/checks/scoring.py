"""What does a check say of one arm's answers: a score or an error for each row, and figures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.counts import many
from tunesmith.evaluate.checks.protocol import CannotScore, Case, Check, Figures


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
        """Over how many rows the score stands, and the first reason why not over all."""
        if not self.errors:
            return None
        row, why = next(iter(self.errors.items()))
        scored = len(self.scores) - len(self.errors)
        return f"{scored:,} of {many(len(self.scores), 'row')} scored; row {row}: {why}"


def score_cases(check: Check, cases: Sequence[Case]) -> Scored:
    """Every case under the check; whatever goes wrong in it is kept for its row, never raised."""
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
    except Exception as error:  # of any kind: the other checks go on
        return _told(error)
    return None


def _score(check: Check, case: Case) -> tuple[float | None, str | None]:
    """The score, or why there is none."""
    try:
        score = float(check.score(case.answer, case.reference, case.question))
    except Exception as error:  # of any kind: the other rows and checks go on
        return None, _told(error)
    if not (math.isfinite(score) and 0.0 <= score <= 1.0):
        return None, f"the score {score} does not lie within 0 and 1"
    return score, None


def _figures(check: Check, cases: Sequence[Case]) -> Figures:
    try:
        return check.aggregate(cases) if cases else {}
    except Exception as error:  # of any kind: the scores stand without the figures
        return {"error": _told(error)}


def _told(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, CannotScore) and text else f"{type(error).__name__}: {text}"
