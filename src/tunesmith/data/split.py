"""Rows held out for evaluation, so that no question and no near copy of it is on both sides."""

import hashlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.counts import many
from tunesmith.data.faults import Note
from tunesmith.data.quality.clusters import Clusters, equal_pairs
from tunesmith.data.quality.near import NearTexts, near_pairs
from tunesmith.data.quality.text import digest, see
from tunesmith.data.rows import Conversation
from tunesmith.errors import DataError

# A cluster of more rows would decide by itself what is on which side: nearly the same is then
# what all rows are, and only equal prompts stay together.
MOST_IN_A_CLUSTER = 0.5
ALL = ""


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Which of N rows must stay together: rows of one ``number`` int64 [N].

    ``keys`` uint64 [N] are the same for rows that are the same, in whatever order they come;
    ``notes`` tell what was not kept together.
    """

    number: NDArray[np.int64]
    keys: NDArray[np.uint64]
    notes: tuple[Note, ...] = ()
    noun: str = "prompt"  # what is the same in a group

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each group."""
        return np.unique(self.number, return_counts=True)[1]


class Prompts:
    """Sees rows one after the other; then which of them ask the same or nearly the same."""

    def __init__(self) -> None:
        self._keys = array("Q")
        self._questions = NearTexts()

    def observe(self, conversation: Conversation) -> None:
        """The next row."""
        self._keys.append(digest(prompt_key(conversation)))
        self._questions.add(see(conversation).bare_question)

    def groups(self) -> Groups:
        """Rows with equal prompts, and rows whose questions are nearly the same."""
        keys = np.array(self._keys, dtype=np.uint64)
        equal = equal_pairs(keys)
        prints = self._questions.fingerprints()
        clusters = Clusters(len(keys))
        clusters.join([equal])
        clusters.join(near_pairs(prints, second=prints.whole))
        first = clusters.first()
        sizes = np.bincount(first, minlength=len(keys))
        parted = sizes[first] > MOST_IN_A_CLUSTER * len(keys)
        if not parted.any():
            return Groups(first, keys)
        by_prompt = Clusters(len(keys))
        by_prompt.join([equal])
        number = np.where(parted, by_prompt.first(), first)
        if (number == first).all():
            return Groups(first, keys)
        what = (
            "most prompts are nearly the same, so that only equal ones were kept on one side of "
            "the split"
        )
        return Groups(number, keys, (Note("split_by_prompt", what, int(parted.sum())),))


def choose_held(
    groups: Groups, *, share: float, seed: int, strata: Sequence[str] | None = None
) -> NDArray[np.bool_]:
    """Which rows are held out, bool [N]: whole groups, about ``share`` of the rows.

    Of each of the ``strata`` about the same share; a group belongs to the most common of its rows.
    The choice depends on what the rows are and on the seed, not on their order. Raises DataError
    if one side would be empty.
    """
    assert 0 < share < 1
    rows: dict[int, list[int]] = defaultdict(list)
    for row, number in enumerate(groups.number.tolist()):
        rows[number].append(row)
    if len(rows) < 2:
        raise _unsplittable(len(groups.number), groups.noun)
    drawn = sorted(rows.values(), key=lambda some: _draw(int(groups.keys[some].min()), seed))
    by_stratum: dict[str, list[list[int]]] = defaultdict(list)
    for some in drawn:
        by_stratum[_stratum(some, strata)].append(some)
    total = len(groups.number)
    wanted = _quotas(
        {name: sum(map(len, some)) for name, some in by_stratum.items()},
        total=min(max(1, round(share * total)), total - 1),
    )
    held = [
        row
        for name, groups_of_rows in by_stratum.items()
        for row in _filled(groups_of_rows, wanted[name])
    ]
    mask = np.zeros(total, dtype=bool)
    mask[held or min(drawn, key=len)] = True
    return mask


def _stratum(rows: Sequence[int], strata: Sequence[str] | None) -> str:
    if strata is None:
        return ALL
    counts = Counter(strata[row] for row in rows)
    return min(counts, key=lambda name: (-counts[name], name))


def _quotas(sizes: dict[str, int], *, total: int) -> dict[str, int]:
    """``total`` rows shared out by size, the largest remainders rounded up."""
    exact = {name: total * size / sum(sizes.values()) for name, size in sizes.items()}
    quotas = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (quotas[name] - exact[name], name))
    for name in by_remainder[: total - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def _filled(groups: Sequence[list[int]], wanted: int) -> list[int]:
    """Rows of the first groups that fit into ``wanted`` rows."""
    held: list[int] = []
    for rows in groups:
        if len(held) + len(rows) <= wanted:
            held += rows
    return held


def _unsplittable(rows: int, noun: str) -> DataError:
    same = f", which all have the same {noun}," if rows > 1 else ""
    return DataError(
        f"{many(rows, 'row')}{same} cannot be split into rows to train on and rows held out.",
        remedy=f"Add other rows{f' (with another {noun})' * (rows > 1)}, name a file with "
        "--data.eval FILE, or hold nothing out with --data.eval 0.",
        code="split",
    )


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to train on and rows to evaluate on, each in their old order."""

    train: list[Conversation]
    held: list[Conversation]
    notes: tuple[Note, ...]


def split_rows(conversations: Sequence[Conversation], *, share: float, seed: int) -> Split:
    """The rows held out of these; raises DataError if one side would be empty."""
    prompts = Prompts()
    for conversation in conversations:
        prompts.observe(conversation)
    groups = prompts.groups()
    held = choose_held(groups, share=share, seed=seed).tolist()
    pairs = list(zip(conversations, held, strict=True))
    train = [conversation for conversation, out in pairs if not out]
    return Split(train, [conversation for conversation, out in pairs if out], groups.notes)


def hold_out(
    conversations: Sequence[Conversation], *, share: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """The two sides of ``split_rows``."""
    split = split_rows(conversations, share=share, seed=seed)
    return split.train, split.held


def prompt_key(conversation: Conversation) -> str:
    """What is said before the first trained answer, or the text, case and white space folded."""
    until = min(conversation.supervised, default=0) or len(conversation.messages)
    said = (
        f"{message.role}: {' '.join(message.content.split()).casefold()}"
        for message in conversation.messages[:until]
    )
    return "\n".join(said)


def _draw(key: int, seed: int) -> bytes:
    salt = seed.to_bytes(8, "little")
    return hashlib.blake2b(key.to_bytes(8, "little"), digest_size=8, salt=salt).digest()
