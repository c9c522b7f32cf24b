"""Which training rows stand as examples in a prompt: drawn by a seed, spread over the answers."""

import random
from collections.abc import Collection, Sequence

from tunesmith.data.quality.text import bare, fold, letters
from tunesmith.data.rows import Conversation, Message


def choose_examples(
    rows: Sequence[Conversation], count: int, *, seed: int, asked: Collection[str] = ()
) -> tuple[Conversation, ...]:
    """At most ``count`` of the rows in the order of the draw.

    An answer comes again only when every other one has come as often: few answers (labels) are
    all shown before any is repeated, answers that all differ are drawn evenly. Rows that ask in any
    of their turns what is in ``asked``, the held-out questions, be it with other punctuation, are
    left out, as the prompt would hold the answer.
    """
    known = {_letters(text) for text in asked}
    order = [row for row in rows if row.supervised and not _asks(row, known)]
    random.Random(seed).shuffle(order)
    rounds: dict[str, int] = {}
    turns: list[tuple[int, int]] = []
    for place, row in enumerate(order):
        answer = _answer(row)
        rounds[answer] = rounds.get(answer, -1) + 1
        turns.append((rounds[answer], place))
    return tuple(order[place] for _, place in sorted(turns)[:count])


def with_examples(
    messages: Sequence[Message], examples: Sequence[Conversation]
) -> tuple[Message, ...]:
    """The messages with the examples as earlier turns, behind their own system prompt.

    An example with another system prompt has it in front of its question.
    """
    system = [message for message in messages[:1] if message.role == "system"]
    turns = [turn for each in examples for turn in _turns(each, system)]
    return (*system, *turns, *messages[len(system) :])


def _turns(row: Conversation, system: Sequence[Message]) -> tuple[Message, ...]:
    """An example up to its last trained answer, as turns of another conversation."""
    turns = row.messages[: row.supervised[-1] + 1]
    if turns[0].role != "system":
        return turns
    own, first, *rest = turns
    if any(message.content == own.content for message in system):
        return (first, *rest)
    return (Message(first.role, f"{own.content}\n\n{first.content}"), *rest)


def _answer(row: Conversation) -> str:
    return _plain(row.messages[row.supervised[-1]].content)


def _asks(row: Conversation, known: Collection[str]) -> bool:
    before = row.messages[: row.supervised[-1]]
    asks = [turn for turn in before if turn.role == "user" or turn is before[-1]]
    return any(_letters(turn.content) in known for turn in asks)


def _letters(text: str) -> str:
    return letters(bare(fold(text)))


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
