"""Which texts of many are nearly the same: words for short ones, shingles for long ones.

Texts come one at a time and are kept as numbers only: some 10 bytes for each word of a short text,
some 130 for a long one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality import minhash
from tunesmith.data.quality.clusters import equal_pairs
from tunesmith.data.quality.gaps import gap_keys, gap_pairs
from tunesmith.data.quality.text import Bare, count_words, digest, letters, words

# In words; texts between are both, so that one word more does not part two of them.
LONG, SHORT = 32, 33
CERTAINLY_LONG = 2048  # characters
FEWEST_WORDS = 4  # one of three is a third of the text
ODD = np.uint64(0x9E3779B97F4A7C15)
WAITING = 512  # texts that are worked on together


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What is kept of N texts.

    ``whole`` uint64 [N] stands for the text without spaces; ``keys`` and their ``counts`` [N] for
    short texts, ``long`` [M] the numbers of long ones and ``signatures`` [M, BINS] theirs.
    """

    whole: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    counts: NDArray[np.int32]
    long: NDArray[np.int64]
    signatures: minhash.Signatures


@dataclass(frozen=True, slots=True)
class _Text:
    """A text that waits: the words that may differ, all of it, and what else must agree."""

    number: int
    words: list[str]
    whole: Bare
    salt: int

    @property
    def is_long(self) -> bool:
        return len(self.whole) > CERTAINLY_LONG or count_words(self.whole) >= LONG


@dataclass(slots=True)
class NearTexts:
    """Texts that are given one after the other, and afterwards which are nearly the same.

    Short texts of at least ``fewest`` words are nearly the same if they differ in one.
    """

    fewest: int = FEWEST_WORDS
    count: int = 0
    _waiting: list[_Text] = field(default_factory=list)
    _parts: list[Fingerprints] = field(default_factory=list)

    def add(self, text: Bare, *, salt: int = 0, whole: Bare | None = None) -> None:
        """The next text; a word of it may differ only under the same ``salt``.

        ``whole`` is what is compared where it is long, of which the text is a part.
        """
        is_short = len(text) <= CERTAINLY_LONG and count_words(text) <= SHORT
        split = words(text) if is_short else []
        self._waiting.append(_Text(self.count, split, whole or text, salt))
        self.count += 1
        if len(self._waiting) >= WAITING:
            self._flush()

    def fingerprints(self) -> Fingerprints:
        """All texts so far."""
        self._flush()
        self._parts = [_joined(self._parts)]
        return self._parts[0]

    def _flush(self) -> None:
        if self._waiting or not self._parts:
            self._parts.append(_fingerprints(self._waiting, fewest=self.fewest))
            self._waiting = []


def _fingerprints(texts: list[_Text], *, fewest: int) -> Fingerprints:
    salts = np.array([text.salt for text in texts], dtype=np.uint64)
    keys, counts = gap_keys([text.words for text in texts], salts=salts, fewest=fewest)
    long = [text for text in texts if text.is_long]
    found = []
    for start in range(0, len(long), minhash.AT_ONCE):
        some = [text.whole for text in long[start : start + minhash.AT_ONCE]]
        found.append(minhash.signatures(*minhash.shingles(some)))
    return Fingerprints(
        whole=np.array([digest(letters(text.whole)) for text in texts], dtype=np.uint64),
        keys=keys,
        counts=counts,
        long=np.array([text.number for text in long], dtype=np.int64),
        signatures=np.concatenate([np.zeros((0, minhash.BINS), np.uint16), *found]),
    )


def _joined(parts: list[Fingerprints]) -> Fingerprints:
    names = ("whole", "keys", "counts", "long", "signatures")
    return Fingerprints(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def near_pairs(
    prints: Fingerprints, *, second: NDArray[np.uint64] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Pairs of texts [n, 2] that are nearly the same, enough of them to join all that are.

    ``second`` [N] brings long texts together that are the likelier to be taken.
    """
    equal = equal_pairs(prints.whole if second is None else prints.whole * ODD + second)
    yield equal
    again = np.zeros(len(prints.whole), dtype=bool)
    again[equal[:, 1]] = True
    yield from short_pairs(prints, without=again)
    fresh = np.flatnonzero(~again[prints.long])
    numbers = prints.long[fresh]
    then = None if second is None else second[numbers]
    for pairs in minhash.near_pairs(prints.signatures[fresh], second=then):
        yield numbers[pairs]


def short_pairs(prints: Fingerprints, *, without: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Pairs of short texts [n, 2] that differ in one word; of equal ones give all but one away."""
    counts = np.where(without, 0, prints.counts)
    yield from gap_pairs(prints.keys[np.repeat(~without, prints.counts)], counts)
