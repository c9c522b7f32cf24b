"""Which texts of many are nearly the same: words for short ones, shingles for long ones.

Texts come one at a time and are kept as numbers only: some 10 bytes for each word of a short text,
some 90 for a long one.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

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


class NearTexts:
    """Texts that are given one after the other, and afterwards which are nearly the same.

    Short texts of at least ``fewest`` words are nearly the same if they differ in one; of the
    signatures of long ones the first ``bins`` are kept.
    """

    def __init__(self, *, fewest: int = FEWEST_WORDS, bins: int = minhash.BINS) -> None:
        self.count = 0
        self._fewest, self._bins = fewest, bins
        self._waiting: list[_Text] = []
        self._whole, self._keys = array("Q"), array("Q")
        self._counts, self._long = array("i"), array("q")
        self._signatures = bytearray()

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
        """All texts so far, as views: let go of them before the next text is added."""
        self._flush()
        signatures = np.frombuffer(self._signatures, dtype=np.uint8)
        return Fingerprints(
            whole=np.asarray(self._whole, dtype=np.uint64),
            keys=np.asarray(self._keys, dtype=np.uint64),
            counts=np.asarray(self._counts, dtype=np.int32),
            long=np.asarray(self._long, dtype=np.int64),
            signatures=signatures.reshape(-1, self._bins),
        )

    def _flush(self) -> None:
        texts, self._waiting = self._waiting, []
        salts = np.array([text.salt for text in texts], dtype=np.uint64)
        keys, counts = gap_keys([text.words for text in texts], salts=salts, fewest=self._fewest)
        self._keys.frombytes(keys.tobytes())
        self._counts.frombytes(counts.tobytes())
        self._whole.extend(digest(letters(text.whole)) for text in texts)
        long = [text for text in texts if text.is_long]
        self._long.extend(text.number for text in long)
        for start in range(0, len(long), minhash.AT_ONCE):
            some = [text.whole for text in long[start : start + minhash.AT_ONCE]]
            found = minhash.signatures(*minhash.shingles(some))
            self._signatures += found[:, : self._bins].tobytes()


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
    own = prints.signatures[fresh]
    minhash.hide_templates_(own)
    for pairs in minhash.near_pairs(own, second=then):
        yield numbers[pairs]


def near_those_before(prints: Fingerprints, first: int) -> NDArray[np.bool_]:
    """Which of the texts from ``first`` on are nearly the same as one before it, bool [N - first].

    Of equal texts one is compared, and what it is holds for all of them.
    """
    _, sample, group = np.unique(prints.whole, return_index=True, return_inverse=True)
    again = np.ones(len(group), dtype=bool)
    again[sample] = False
    is_near = np.zeros(len(sample), dtype=bool)
    is_near[group[:first]] = True
    for pairs in short_pairs(prints, without=again):
        across = (pairs < first).sum(axis=1) == 1
        is_near[group[pairs[across].max(axis=1)]] = True
    fresh = np.flatnonzero(~again[prints.long])
    numbers, own = prints.long[fresh], prints.signatures[fresh]
    minhash.hide_templates_(own)
    start = int(np.searchsorted(numbers, first))
    alike = minhash.near_any(own[start:], own[:start])
    is_near[group[numbers[start:][alike]]] = True
    return is_near[group[first:]]


def short_pairs(prints: Fingerprints, *, without: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Pairs of short texts [n, 2] that differ in one word; of equal ones give all but one away."""
    counts = np.where(without, 0, prints.counts)
    yield from gap_pairs(prints.keys[np.repeat(~without, prints.counts)], counts)
