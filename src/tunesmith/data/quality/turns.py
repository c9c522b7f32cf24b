"""What each answer of a chat answers: all that is said before it, as one key."""

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality.clusters import equal_pairs
from tunesmith.data.quality.text import digest, fold, said
from tunesmith.data.rows import TEXT, Conversation

FEWEST_OPENED = 8  # chats that open in one way: more of them say how chats open, not what is asked


@dataclass(frozen=True, slots=True)
class Turns:
    """Keys of what stands before the trained answers, in order, and before those given as context.

    Two chats with a key in common are one up to there, whichever of its answers are trained.
    """

    trained: tuple[int, ...]
    given: tuple[int, ...]


def turns(conversation: Conversation) -> Turns:
    """The keys of a row: roles and what is said, case and white space folded, no system message.

    A text has one for itself, and so has a row in which nothing is trained.
    """
    before: list[str] = []
    keys: dict[int, int] = {}
    trained = conversation.supervised
    for place, message in enumerate(conversation.messages):
        if message.role == "system":
            continue
        if before and message.role in ("assistant", TEXT):
            keys[place] = digest("\n".join(before))
        before.append(f"{message.role}: {fold(said(message))}")
    whole = digest("\n".join(before))
    given = (key for place, key in keys.items() if place not in trained)
    return Turns(tuple(keys.get(place, whole) for place in trained) or (whole,), tuple(given))


class SharedTurns:
    """Sees the rows one after the other, then tells which are the same chat up to some answer."""

    def __init__(self) -> None:
        self._under = array("Q")
        self._trained, self._trained_rows = array("Q"), array("q")
        self._given, self._given_rows = array("Q"), array("q")

    def observe(self, conversation: Conversation, *, under: int = 0) -> None:
        """The next row; ``under`` stands for its system prompt."""
        found, number = turns(conversation), len(self._under)
        self._under.append(under)
        self._trained.extend(found.trained)
        self._trained_rows.extend(number for _ in found.trained)
        self._given.extend(found.given)
        self._given_rows.extend(number for _ in found.given)

    def pairs(self, *, most: float, apart: bool = False) -> NDArray[np.int64]:
        """Pairs of rows [n, 2] that chain those with one turn in common, trained in one of them.

        A turn that more than ``most`` of the rows share, such as a greeting, joins those alone
        that end there. ``apart``: none under different system prompts.
        """
        count = len(self._under)
        rows = np.array(self._trained_rows + self._given_rows, dtype=np.int64)
        keys = np.array(self._trained + self._given, dtype=np.uint64)
        keys ^= np.array(self._under, dtype=np.uint64)[rows] * np.uint64(apart)
        trained = keys[: len(self._trained)]
        ends = np.zeros(len(rows), dtype=bool)
        ends[: len(trained)] = np.diff(rows[: len(trained)], append=count) > 0
        _, kind, counts = np.unique(keys, return_inverse=True, return_counts=True)
        is_usual = counts > max(FEWEST_OPENED, most * count)
        kept = np.flatnonzero(np.isin(keys, trained) & (ends | ~is_usual[kind]))
        return rows[kept[equal_pairs(keys[kept])]]
