"""Rows that teach to answer from sources: with the right one, among others, or without it.

As in RAFT (arXiv 2403.10131), the model learns to use and cite what answers, to leave distractors
alone, and to decline where nothing answers. The prompt is the one of serving.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Literal

from tunesmith.errors import RagError
from tunesmith.rag.citations import CITATION
from tunesmith.rag.passage import Passage
from tunesmith.rag.prompt import CUT_MARK, Prompt
from tunesmith.rag.questions import Known, Question, says_nothing
from tunesmith.rag.retrieve import alike

Kind = Literal["right", "distractors", "none"]
KINDS: tuple[Kind, ...] = ("right", "distractors", "none")
TRIES = 20  # passages that are drawn for each place among the sources
Ask = Callable[[str, Sequence[tuple[str, str]]], Prompt]
"""The prompt of a question with (place, text) of its passages; RagError where none fits."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the questions: with the right passage alone, among distractors, with distractors alone."""

    right: float = 0.2
    distractors: float = 0.5
    none: float = 0.3

    def __post_init__(self) -> None:
        """Raise RagError for shares that are none."""
        shares = (self.right, self.distractors, self.none)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise RagError(
                f"The shares {' + '.join(f'{share:g}' for share in shares)} do not sum to 1.",
                remedy="Give --right, --distractors and --none as shares of the rows.",
                code="shares",
            )


@dataclass(frozen=True, slots=True)
class Example:
    """A training row; ``passages`` are those in its prompt, ``right`` the number to be cited."""

    kind: Kind
    prompt: Prompt
    answer: str
    passages: tuple[Passage, ...]
    right: int | None = None


def deal(count: int, shares: Shares, *, seed: int) -> list[Kind]:
    """A kind for each of ``count`` questions, in the shares to the nearest row, shuffled."""
    ends = [round(count * end) for end in accumulate((shares.right, shares.distractors, 1.0))]
    ends[-1] = count
    starts = [0, *ends]
    kinds = [kind for kind, a, b in zip(KINDS, starts, ends, strict=False) for _ in range(a, b)]
    random.Random(f"{seed} kinds").shuffle(kinds)
    return kinds


def draw_distractors(
    question: Question,
    known: Known,
    others: Sequence[Passage],
    *,
    count: int,
    rng: random.Random,
) -> list[Passage]:
    """Passages that do not answer: the best hits among ``others``, then any of these.

    None of them has an answer, is nearly a right passage, or nearly one drawn before.
    """
    allowed = {passage.id for passage in others}
    hits = (hit.passage for hit in known.hits if hit.passage.id in allowed)
    found: list[Passage] = []
    for passage in chain(hits, _drawn(others, TRIES * count, rng)):
        if len(found) == count:
            break
        repeats = any(alike(passage.text, each.text) for each in found)
        if not repeats and says_nothing(passage, known, question.answers):
            found.append(passage)
    return found


def _drawn(passages: Sequence[Passage], most: int, rng: random.Random) -> Iterator[Passage]:
    yield from rng.sample(passages, min(most, len(passages)))


def compose(
    question: Question,
    right: Passage | None,
    distractors: Sequence[Passage],
    *,
    ask: Ask,
    rng: random.Random,
) -> Example | None:
    """The row of a question with these sources, the right one (if any) at a place that is drawn.

    Distractors that leave no room for all of the right passage go, the last ones first; None where
    it does not fit even alone.
    """
    shown = list(distractors)
    if right is not None:
        shown.insert(rng.randrange(len(shown) + 1), right)
    while True:
        prompt = _asked(question, shown, ask)
        place = None if right is None else shown.index(right)
        if prompt is not None and (place is None or _is_whole(prompt, place)):
            break
        last = next((i for i in reversed(range(len(shown))) if i != place), None)
        if last is None:
            return None
        del shown[last]
    passages = tuple(shown[: len(prompt.sources)])
    if place is None:
        return Example("none", prompt, prompt.refusal, passages)
    kind: Kind = "distractors" if len(passages) > 1 else "right"
    answer = f"{CITATION.sub('', question.answers[0]).strip()} [{place + 1}]"
    return Example(kind, prompt, answer, passages, place + 1)


def _asked(question: Question, shown: Sequence[Passage], ask: Ask) -> Prompt | None:
    try:
        return ask(question.text, [(passage.place, passage.text) for passage in shown])
    except RagError:
        return None


def _is_whole(prompt: Prompt, place: int) -> bool:
    return len(prompt.sources) > place and not prompt.sources[place].text.endswith(CUT_MARK)
