"""Greedy answers of a base or an adapter to questions, with nothing kept."""

from collections.abc import Sequence

from tunesmith.generate.loop import generate
from tunesmith.generate.sampling import Sampling
from tunesmith.workflows.answers import Question, text_of
from tunesmith.workflows.arms import arm_of
from tunesmith.workflows.opening import Opened


def texts(
    opened: Opened, questions: Sequence[Question], *, adapter: str | None, most: int
) -> list[str]:
    """The answers in the questions' order, of at most ``most`` tokens."""
    made = generate(
        opened.engine,
        arm_of(opened, "asked", questions, adapter=adapter).prompts,
        stop_ids=opened.base.stop_ids,
        sampling=Sampling(max_new_tokens=most),
    )
    ids = {one.row: one.ids for one in made}
    return [text_of(opened.tokenizer(adapter), ids[row]) for row in range(len(questions))]
