"""Greedy answers of a base or an adapter to questions, with nothing kept."""

from collections.abc import Sequence

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.evaluation.answering import Respondent, answers_now
from tunesmith.evaluation.answers import Question
from tunesmith.evaluation.arms import arm_of


def texts(
    loaded: LoadedBase, questions: Sequence[Question], *, adapter: str | None, limit: int
) -> Sequence[str]:
    """The answers in the questions' order, of at most ``most`` tokens."""
    arm = arm_of(loaded, "asked", questions, adapter=adapter)
    return answers_now(loaded, arm, Respondent(adapter), limit=limit)
