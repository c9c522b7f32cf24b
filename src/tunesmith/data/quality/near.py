"""Which texts of many are nearly the same (words of short ones, shingles of long), in groups?

Shingles of short texts are too few for MinHash: one word of six changes half of them.

Texts come one at a time and are kept as numbers only: some 10 bytes for each word of a short text,
some 90 for a long one.
"""

import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality import minhash
from tunesmith.data.quality.text import Bare, count_words, digest, letters, words


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


def equal_pairs(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs [n, 2] that chain the rows with equal keys; the first of them stands first."""
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    return np.stack([order[same], order[same + 1]], axis=1)


def repeated(labels: NDArray[Any], out: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """The rows [n] that have the label of an earlier one, of those that are not ``out`` [N]."""
    rows = np.arange(len(labels)) if out is None else np.flatnonzero(~out)
    again = np.ones(len(rows), dtype=bool)
    again[np.unique(labels[rows], return_index=True)[1]] = False
    found: NDArray[np.int64] = rows[again]
    return found


FILLERS = 8  # texts that differ in one place: more of them are a template, not copies
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_NUMBER = np.uint64(1)
_STIR = np.uint64(0xBF58476D1CE4E5B9)


def word_hashes(words: Sequence[str]) -> list[int]:
    """32 bits for each word, the same in every process."""
    return [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words]


def gap_keys(
    texts: Sequence[Sequence[str]], *, salts: NDArray[np.uint64], fewest: int
) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Keys that texts of one salt share if they are equal but for one word, and how many of each.

    A text has one for itself and one for each word that could be left out. The lowest bit is no
    part of the key: it says that the word has a digit. Texts of less than ``fewest`` words have
    none.
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    flat = list(chain.from_iterable(texts))
    hashed = _stirred(np.array(word_hashes(flat), dtype=np.uint64) + np.uint64(1))
    number = np.array([not w.isalpha() and any(map(str.isdigit, w)) for w in flat], dtype=bool)
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(flat), dtype=np.int64) - np.repeat(starts, lengths)
    terms = hashed * _powers(_BASE, int(lengths.max(initial=0)))[place]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
    total = sums[starts + lengths] - sums[starts]
    before = sums[:-1] - np.repeat(sums[starts], lengths)
    without = before + (np.repeat(total, lengths) - before - terms) * _INVERSE
    enough = lengths >= fewest
    owner = np.repeat(np.arange(len(texts)), lengths)
    keep, whole = enough[owner], np.flatnonzero(enough)
    owners = np.concatenate([owner[keep], whole])
    keys = _stirred(np.concatenate([without[keep], total[whole]]) + _stirred(salts)[owners])
    keys = (keys & ~_NUMBER) | np.concatenate([number[keep], np.zeros(len(whole), dtype=bool)])
    order = np.argsort(owners, kind="stable")
    return keys[order], np.bincount(owners, minlength=len(texts)).astype(np.int32)


def _powers(base: np.uint64, count: int) -> NDArray[np.uint64]:
    return np.cumprod(np.concatenate([[np.uint64(1)], np.full(count, base)]), dtype=np.uint64)


def _stirred(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = (values ^ (values >> np.uint64(31))) * _STIR
    mixed ^= mixed >> np.uint64(29)
    return mixed


def gap_pairs(
    keys: NDArray[np.uint64], counts: NDArray[np.int32], *, parts: int = 8
) -> Iterator[NDArray[np.int64]]:
    """Pairs of texts [n, 2] that share a key, unless so many share it that it is a template's.

    Texts that differ in a number only are no pair: another number is another question. Texts that
    are equal share all of their keys: give each only once. ``parts`` bounds the memory.
    """
    owners = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    for part in range(parts):
        chosen = np.flatnonzero((keys >> np.uint64(1)) % np.uint64(parts) == part)
        order = chosen[np.argsort(keys[chosen], kind="stable")]
        found, number = keys[order] & ~_NUMBER, (keys[order] & _NUMBER).astype(bool)
        begins = np.flatnonzero(np.concatenate([[True], found[1:] != found[:-1]]))
        sizes = np.diff(np.concatenate([begins, [len(found)]]))
        few = np.repeat(sizes <= FILLERS, sizes)
        for step in range(1, FILLERS):
            same = few[step:] & (found[step:] == found[:-step])
            at = np.flatnonzero(same & ~(number[step:] & number[:-step]))
            pairs = np.stack([owners[order[at]], owners[order[at + step]]], axis=1)
            yield pairs[pairs[:, 0] != pairs[:, 1]].astype(np.int64)


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
