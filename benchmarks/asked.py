"""Greedy answers of a base or an adapter to questions, with nothing kept."""

from collections.abc import Sequence

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.evaluation.answering import answers_now
from tunesmith.evaluation.answers import Question
from tunesmith.evaluation.arms import arm_of


def texts(
    opened: LoadedBase, questions: Sequence[Question], *, adapter: str | None, most: int
) -> Sequence[str]:
    """The answers in the questions' order, of at most ``most`` tokens."""
    arm = arm_of(opened, "asked", questions, adapter=adapter)
    return answers_now(opened, arm, adapter, most=most)
