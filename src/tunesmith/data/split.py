"""Which rows are held out, so that no question, turn or near copy of it is on both sides."""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.errors import DataError
from tunesmith.core.numbers import pluralize
from tunesmith.data.faults import Note
from tunesmith.data.quality.near import NearTexts, equal_pairs, near_pairs
from tunesmith.data.quality.text import digest, fold, see, spoken_text
from tunesmith.data.rows import TEXT, Conversation

# Ways in which chats continue from one turn, and their share of the rows: more of both say how
# chats open, not what is asked.
MIN_OPENED, OPENING_SHARE = 8, 0.05


@dataclass(frozen=True, slots=True)
class Turns:
    """Keys of the text before the trained answers, in order, and before those given as context.

    Two chats with a key in common are one up to there, whichever of its answers are trained.
    ``later`` has for each of them, the trained ones first, the key that follows in the chat, or 0.
    """

    trained: tuple[int, ...]
    given: tuple[int, ...]
    later: tuple[int, ...]


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
        before.append(f"{message.role}: {fold(spoken_text(message))}")
    whole = digest("\n".join(before))
    places = [*(trained or (-1,)), *(place for place in keys if place not in trained)]
    found = tuple(keys.get(place, whole) for place in places)
    follows = {place: keys[later] for place, later in pairwise(keys)}
    count = max(1, len(trained))
    return Turns(found[:count], found[count:], tuple(follows.get(place, 0) for place in places))


class SharedTurns:
    """Sees the rows one after the other, then tells which are the same chat up to some answer."""

    def __init__(self) -> None:
        self._under = array("Q")
        self._trained, self._trained_rows = array("Q"), array("q")
        self._given, self._given_rows = array("Q"), array("q")
        self._after_trained, self._after_given = array("Q"), array("Q")

    def observe(self, conversation: Conversation, *, under: int = 0) -> None:
        """The next row; ``under`` is a hash of its system prompt."""
        found, number = turns(conversation), len(self._under)
        self._under.append(under)
        self._trained.extend(found.trained)
        self._trained_rows.extend(number for _ in found.trained)
        self._given.extend(found.given)
        self._given_rows.extend(number for _ in found.given)
        self._after_trained.extend(found.later[: len(found.trained)])
        self._after_given.extend(found.later[len(found.trained) :])

    def pairs(self, *, limit: float, apart: bool = False) -> NDArray[np.int64]:
        """Pairs of rows [n, 2] that chain those with one turn in common, trained in one of them.

        A turn that more than ``limit`` of the rows share, or from which chats continue in many
        ways, such as a greeting, joins those alone that end there. ``apart``: none under different
        system prompts.
        """
        count = len(self._under)
        rows = np.array(self._trained_rows + self._given_rows, dtype=np.int64)
        keys = np.array(self._trained + self._given, dtype=np.uint64)
        is_usual = self._usual(keys, limit * count)
        ends = np.zeros(len(rows), dtype=bool)
        ends[: len(self._trained)] = np.diff(rows[: len(self._trained)], append=count) > 0
        keys ^= np.array(self._under, dtype=np.uint64)[rows] * np.uint64(apart)
        is_trained = np.isin(keys, keys[: len(self._trained)])
        kept = np.flatnonzero(is_trained & (ends | ~is_usual))
        return rows[kept[equal_pairs(keys[kept])]]

    def _usual(self, keys: NDArray[np.uint64], most: float) -> NDArray[np.bool_]:
        """Whether each turn is how chats open."""
        _, kind, counts = np.unique(keys, return_inverse=True, return_counts=True)
        later, one = np.unique(
            np.array(self._after_trained + self._after_given, dtype=np.uint64), return_index=True
        )
        ways = np.bincount(kind[one[later > 0]], minlength=len(counts))
        usual: NDArray[np.bool_] = (counts > max(MIN_OPENED, most)) | (
            ways > max(MIN_OPENED, OPENING_SHARE * len(self._under))
        )
        return usual[kind]


class Clusters:
    """Rows 0..N-1, each alone until pairs join them (union-find with path halving)."""

    def __init__(self, count: int) -> None:
        self._above = array("q", range(count))

    def _root(self, row: int) -> int:
        above = self._above
        while above[row] != row:
            above[row] = row = above[above[row]]
        return row

    def join(self, pairs: Iterable[NDArray[np.int64]]) -> None:
        """Put the two rows of each pair [n, 2] together."""
        for some in pairs:
            for a, b in some.tolist():
                low, high = sorted((self._root(a), self._root(b)))
                self._above[high] = low

    def first(self) -> NDArray[np.int64]:
        """The lowest row of each row's cluster, int64 [N]."""
        return np.array([self._root(row) for row in range(len(self._above))], dtype=np.int64)


# A cluster of more rows would decide by itself what is on which side: nearly the same is then
# what all rows are, and only equal prompts stay together.
MAX_IN_A_CLUSTER = 0.5
ALL = ""


# More or fewer rows held out than asked for by this factor are reported.
CLEARLY = 2


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Which of N rows must stay together: rows of one ``number`` int64 [N].

    ``keys`` uint64 [N] are the same for rows that are the same, in whatever order they come;
    ``notes`` tell what was not kept together. ``parts`` int64 [N], where there are any, are what
    a group is parted into should it be too large.
    """

    number: NDArray[np.int64]
    keys: NDArray[np.uint64]
    notes: tuple[Note, ...] = ()
    noun: str = "prompt"  # what is the same in a group
    parts: NDArray[np.int64] | None = None

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each group."""
        return np.unique(self.number, return_counts=True)[1]

    def of(self, rows: NDArray[np.int64]) -> "Groups":
        """Those of some rows."""
        parts = None if self.parts is None else self.parts[rows]
        return replace(self, number=self.number[rows], keys=self.keys[rows], parts=parts)

    def fitting(self, wanted: int) -> "Groups":
        """Larger groups parted, where whole ones cannot make up about ``wanted`` rows."""
        size = np.bincount(self.number)[self.number]
        if self.parts is None or CLEARLY * np.count_nonzero(size <= wanted) >= wanted:
            return self
        parted = size > max(MIN_OPENED, wanted)
        number = np.where(parted, self.parts, self.number)
        if (number == self.number).all():
            return self
        what = "whole groups of nearly the same prompts are more rows than are held out: of the "
        what += "largest only equal prompts were kept on one side of the split"
        note = Note("split_by_prompt", what, int(parted.sum()))
        return replace(self, number=number, notes=(*self.notes, note))


class Prompts:
    """Sees rows one after the other; then which of them ask the same or nearly the same."""

    def __init__(self) -> None:
        self._keys = array("Q")
        self._turns = SharedTurns()
        self._questions = NearTexts()

    def observe(self, conversation: Conversation) -> None:
        """The next row."""
        row = see(conversation)
        self._keys.append(digest(prompt_key(conversation)))
        self._turns.observe(conversation, under=digest(fold(row.system)) if row.system else 0)
        self._questions.add(row.bare_question)

    def groups(self) -> Groups:
        """Rows with equal prompts, chats with equal turns before an answer that one of them trains,
        and rows whose questions are nearly the same.
        """
        keys = np.array(self._keys, dtype=np.uint64)
        prints = self._questions.fingerprints()
        clusters = Clusters(len(keys))
        clusters.join([self._turns.pairs(limit=MAX_IN_A_CLUSTER)])
        clusters.join(near_pairs(prints, second=prints.whole))
        first = clusters.first()
        by_prompt = Clusters(len(keys))
        by_prompt.join([self._turns.pairs(limit=MAX_IN_A_CLUSTER, apart=True)])
        parts = by_prompt.first()
        parted = np.bincount(first, minlength=len(keys))[first] > MAX_IN_A_CLUSTER * len(keys)
        number = np.where(parted, parts, first)
        if (number == first).all():
            return Groups(first, keys, parts=parts)
        what = (
            "most prompts are nearly the same: only equal ones were kept on one side of the split"
        )
        note = Note("split_by_prompt", what, int(parted.sum()))
        return Groups(number, keys, (note,), parts=parts)


def choose_held(
    groups: Groups, *, share: float, seed: int, strata: Sequence[str] | None = None
) -> tuple[NDArray[np.bool_], Groups]:
    """Which rows are held out, bool [N]: whole groups, about ``share`` of the rows; and the groups.

    Of each of the ``strata`` about the same share; a group belongs to the most common of its rows.
    The choice depends on what the rows are and on the seed, not on their order. Raises DataError
    if one side would be empty.
    """
    assert 0 < share < 1
    total = len(groups.number)
    most = min(max(1, round(share * total)), total - 1)
    groups = groups.fitting(most)
    _, first, group, sizes = np.unique(
        groups.number, return_index=True, return_inverse=True, return_counts=True
    )
    if len(sizes) < 2:
        raise _unsplittable(total, groups.noun)
    least = np.full(len(sizes), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(least, group, groups.keys)
    drawn = np.lexsort((first, _draws(least, seed)))
    stratum, names = _strata(group, strata)
    rows_each = np.bincount(stratum[group], minlength=len(names)).tolist()
    wanted = _quotas(dict(zip(names, rows_each, strict=True)), total=most)
    held = np.zeros(len(sizes), dtype=bool)
    for number, name in enumerate(names):
        some = drawn[stratum[drawn] == number]
        held[some[_fitting(sizes[some], wanted[name])]] = True
    if not held.any():
        held[drawn[np.argmin(sizes[drawn])]] = True
    return held[group], _with_note(groups, int(sizes[held].sum()), most)


def _with_note(groups: Groups, held: int, wanted: int) -> Groups:
    """Tell it where clearly more or fewer rows are held out than were ``wanted``."""
    if wanted <= CLEARLY * held and held <= CLEARLY * wanted:
        return groups
    what = f"{pluralize(held, 'row')} of {len(groups.number):,} held out where the share asked for "
    what += f"is {wanted:,}: rows with the same {groups.noun} are on one side of the split"
    return replace(groups, notes=(*groups.notes, Note("split_share", what, held)))


def _strata(
    group: NDArray[np.int64], strata: Sequence[str] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """The number of the most common value in each group, of equally common ones the first."""
    if strata is None:
        return np.zeros(int(group.max()) + 1, dtype=np.int64), [ALL]
    names = sorted(set(strata))
    numbers = {name: number for number, name in enumerate(names)}
    values = np.fromiter((numbers[name] for name in strata), dtype=np.int64, count=len(strata))
    pairs, counts = np.unique(group * len(names) + values, return_counts=True)
    owner, value = np.divmod(pairs, len(names))
    order = np.lexsort((value, -counts, owner))
    begins = np.flatnonzero(np.diff(owner[order], prepend=-1))
    return value[order][begins], names


def _quotas(sizes: dict[str, int], *, total: int) -> dict[str, int]:
    """``total`` rows shared out by size, the largest remainders rounded up."""
    exact = {name: total * size / sum(sizes.values()) for name, size in sizes.items()}
    quotas = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (quotas[name] - exact[name], name))
    for name in by_remainder[: total - sum(quotas.values())]:
        quotas[name] += 1
    return quotas


def _fitting(sizes: NDArray[np.int64], wanted: int) -> NDArray[np.bool_]:
    """Which groups are taken, the first ones that fit into ``wanted`` rows together."""
    taken, left = np.zeros(len(sizes), dtype=bool), wanted
    for place, size in enumerate(sizes.tolist()):
        if size <= left:
            taken[place] = True
            left -= size
    return taken


def _unsplittable(rows: int, noun: str) -> DataError:
    same = f", which all have the same {noun}," if rows > 1 else ""
    return DataError(
        f"{pluralize(rows, 'row')}{same} cannot be split into rows to train on and rows held out.",
        remedy=f"Add other rows{f' (with another {noun})' * (rows > 1)}, name a file with "
        "--data.eval FILE, or hold nothing out with --data.eval 0.",
        code="split",
    )


def prompt_key(conversation: Conversation) -> str:
    """What is said before the first trained answer, or the text, case and white space folded."""
    until = min(conversation.supervised, default=0) or len(conversation.messages)
    return "\n".join(
        f"{message.role}: {' '.join(message.content.split()).casefold()}"
        for message in conversation.messages[:until]
    )


def _draws(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """A number drawn for each key, the same in any order."""
    salt, data = seed.to_bytes(8, "little"), memoryview(keys.astype("<u8").tobytes())
    hashed = (
        hashlib.blake2b(data[at : at + 8], digest_size=8, salt=salt).digest()
        for at in range(0, len(data), 8)
    )
    return np.frombuffer(b"".join(hashed), dtype=">u8").astype(np.uint64)
