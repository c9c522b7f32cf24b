"""Which texts of many are nearly the same, and their groups: short ones by words, long by shingles.

Shingles of short texts are too few for MinHash: one word of six changes half of them. For long ones
it is MinHash by one permutation (Li, Owen, Zhang 2012, NeurIPS) and LSH over windows of bytes, so
that it is the same for every script.

Texts come one at a time and are kept as numbers only: some 10 bytes for each word of a short text,
some 90 for a long one.
"""

import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality.text import Bare, count_words, digest, is_unspaced, letters, words


def equal_pairs(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs [n, 2] that chain the rows with equal keys; the first of them comes first."""
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    return np.stack([order[same], order[same + 1]], axis=1)


# Short texts: keys of what is left of each where one word is left out.

FILLERS = 8  # texts that differ in one place: more of them are a template, not copies
ODD = np.uint64(0x9E3779B97F4A7C15)  # so that it has an inverse
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_NUMBER = np.uint64(1)
_STIR = np.uint64(0xBF58476D1CE4E5B9)


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
    hashes = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in flat]
    hashed = _stirred(np.array(hashes, dtype=np.uint64) + np.uint64(1))
    number = np.array([not w.isalpha() and any(map(str.isdigit, w)) for w in flat], dtype=bool)
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(flat), dtype=np.int64) - np.repeat(starts, lengths)
    factors = np.concatenate([[np.uint64(1)], np.full(int(lengths.max(initial=0)), ODD)])
    terms = hashed * np.cumprod(factors, dtype=np.uint64)[place]
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
        begins = np.flatnonzero(np.diff(found, prepend=~found[:1]))
        sizes = np.diff(begins, append=len(found))
        few = np.repeat(sizes <= FILLERS, sizes)
        for step in range(1, FILLERS):
            same = few[step:] & (found[step:] == found[:-step])
            at = np.flatnonzero(same & ~(number[step:] & number[:-step]))
            pairs = np.stack([owners[order[at]], owners[order[at + step]]], axis=1)
            yield pairs[pairs[:, 0] != pairs[:, 1]].astype(np.int64)


# Long texts: MinHash.

BINS, ROWS_PER_BAND = 64, 4
WINDOW = 8  # bytes of a shingle
NEAR = 0.75  # share of shingles in common from which texts are nearly the same
MIN_BINS = 6  # from which on a similarity says something
# Texts with a part in common: beyond both it is a template that they are written in.
MIN_ALIKE, SHARE_ALIKE = 8, 0.05
NEIGHBOURS = 4  # of a row in a bucket that it is compared with
MAX_OTHERS = 64  # in a bucket, where rows are compared with others of a second set
AT_ONCE = 32  # texts whose shingles fit into the processor's cache
_EMPTY = np.uint8(0xFF)
_EMPTY_BAND = np.uint32(0xFFFFFFFF)
_COMPARED_AT_ONCE = 1 << 16

Signatures = NDArray[np.uint8]


def signatures_of(texts: Sequence[Bare]) -> Signatures:
    """The least hash of each text's shingles in each bin, one byte of it: uint8 [N, BINS].

    That is b-bit MinHash (Li and König 2010). Texts have at least WINDOW bytes.
    """
    data = [text.encode("utf-8", "surrogatepass").ljust(WINDOW) for text in texts]
    starts = np.cumsum([0, *map(len, data)], dtype=np.int64)
    joined = b"".join(data) + bytes(WINDOW)
    raw = np.ndarray(shape=(int(starts[-1]),), dtype="<u8", buffer=joined, strides=(1,))
    hashes = raw * ODD
    hashes ^= hashes >> np.uint64(32)
    hashes *= ODD
    # Windows that would cross an end are copies of the first.
    hashes[starts[1:, None] - np.arange(1, WINDOW)] = hashes[starts[:-1], None]
    place = np.repeat(np.arange(0, len(texts) * BINS, BINS), np.diff(starts))
    place += (hashes >> np.uint64(58)).astype(np.int64)
    least = np.full(len(texts) * BINS, 0xFFFFFFFF, dtype=np.uint32)
    np.minimum.at(least, place, (hashes >> np.uint64(24)).astype(np.uint32))
    found: Signatures = np.minimum(least & np.uint32(0xFF), _EMPTY - 1).astype(np.uint8)
    found[least == 0xFFFFFFFF] = _EMPTY
    return found.reshape(len(texts), BINS)


def similarity(a: Signatures, b: Signatures) -> NDArray[np.float64]:
    """The estimated share of shingles that each two rows [n, BINS] have in common, [n].

    It is 0 where too few bins are left to tell.
    """
    either = (a != _EMPTY) | (b != _EMPTY)
    same = np.count_nonzero((a == b) & either, axis=1)
    bins = np.count_nonzero(either, axis=1)
    shared: NDArray[np.float64] = np.where(bins < MIN_BINS, 0.0, same / np.maximum(bins, 1))
    return shared


def _bands(*found: Signatures) -> Iterator[list[NDArray[np.uint32]]]:
    """Each band of the signatures, as one number for each row."""
    for start in range(0, BINS, ROWS_PER_BAND):
        bands = (each[:, start : start + ROWS_PER_BAND] for each in found)
        yield [np.ascontiguousarray(band).view(np.uint32).ravel() for band in bands]


def _alike(
    a: Signatures, rows: NDArray[np.int64], b: Signatures, others: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether each of the ``rows`` of one is nearly the same as its other, bool [n]."""
    near = np.zeros(len(rows), dtype=bool)
    for start in range(0, len(rows), _COMPARED_AT_ONCE):
        some = slice(start, start + _COMPARED_AT_ONCE)
        near[some] = similarity(a[rows[some]], b[others[some]]) >= NEAR
    return near


def similar_pairs(
    found: Signatures, *, second: NDArray[np.uint64] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Pairs of rows [n, 2] that are nearly the same; ``second`` brings some of a bucket together.

    A row is compared with its neighbours in each bucket only: of rows that are all alike these are
    enough to join them.
    """
    for (band,) in _bands(found):
        rows = np.flatnonzero(band != _EMPTY_BAND)
        order = np.lexsort((rows if second is None else second[rows], band[rows]))
        rows = rows[order]
        keys = band[rows]
        for step in range(1, NEIGHBOURS + 1):
            at = np.flatnonzero(keys[step:] == keys[:-step])
            a, b = rows[at], rows[at + step]
            near = _alike(found, a, found, b)
            yield np.stack([a[near], b[near]], axis=1)


def similar_to_any(found: Signatures, others: Signatures) -> NDArray[np.bool_]:
    """Which rows of ``found`` are nearly the same as one of ``others`` in a bucket, bool [N]."""
    near = np.zeros(len(found), dtype=bool)
    for band, other in _bands(found, others):
        order = np.argsort(other, kind="stable")
        rows = np.flatnonzero(~near & (band != _EMPTY_BAND))
        place = np.searchsorted(other[order], band[rows])
        stop = np.searchsorted(other[order], band[rows], side="right")
        for _ in range(MAX_OTHERS):
            left = ~near[rows] & (place < stop)
            rows, place, stop = rows[left], place[left], stop[left]
            near[rows] = _alike(found, rows, others, order[place])
            place = place + 1
    return near


def hide_templates_(found: Signatures) -> None:
    """Empty the bins whose hash more rows have than copies would: it is of a common template."""
    limit = max(MIN_ALIKE, SHARE_ALIKE * len(found))
    for column in found.T:
        column[np.bincount(column, minlength=256)[column] > limit] = _EMPTY


# Both. In words; texts between are both, so that one word more does not part two of them.

LONG, SHORT = 32, 33
CERTAINLY_LONG = 2048  # characters
MIN_WORDS = 4  # one of three is a third of the text
WAITING = 512  # texts that are worked on together


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What is kept of N texts.

    ``whole`` uint64 [N] is a hash of the text without spaces; ``keys`` and their ``counts`` [N] for
    short texts, ``long`` [M] the numbers of long ones and ``signatures`` [M, BINS] theirs.
    """

    whole: NDArray[np.uint64]
    keys: NDArray[np.uint64]
    counts: NDArray[np.int32]
    long: NDArray[np.int64]
    signatures: Signatures


class NearTexts:
    """Texts that are given one after the other, and afterwards which are nearly the same.

    Short texts of at least ``fewest`` words are nearly the same if they differ in one; of the
    signatures of long ones the first ``bins`` are kept.
    """

    def __init__(self, *, fewest: int = MIN_WORDS, bins: int = BINS) -> None:
        self.count = 0
        self._fewest, self._bins = fewest, bins
        # The words that may differ, the whole text, and what else must agree.
        self._waiting: list[tuple[list[str], Bare, int]] = []
        self._whole, self._keys = array("Q"), array("Q")
        self._counts, self._long = array("i"), array("q")
        self._signatures = bytearray()

    def add(self, text: Bare, *, salt: int = 0, whole: Bare | None = None) -> None:
        """The next text; a word of it may differ only under the same ``salt``.

        ``whole`` is what is compared where it is long, of which the text is a part.
        """
        is_short = len(text) <= CERTAINLY_LONG and count_words(text) <= SHORT
        split = words(text) if is_short else []
        if len(split) < 2 * self._fewest and is_unspaced(text):
            split = []  # characters, of which two make a word
        self._waiting.append((split, whole or text, salt))
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
        salts = np.array([salt for _, _, salt in texts], dtype=np.uint64)
        keys, counts = gap_keys([split for split, _, _ in texts], salts=salts, fewest=self._fewest)
        self._keys.frombytes(keys.tobytes())
        self._counts.frombytes(counts.tobytes())
        first = len(self._whole)
        self._whole.extend(digest(letters(whole)) for _, whole, _ in texts)
        long = {n: whole for n, (_, whole, _) in enumerate(texts, first) if _is_long(whole)}
        self._long.extend(long)
        for start in range(0, len(long), AT_ONCE):
            found = signatures_of(list(long.values())[start : start + AT_ONCE])
            self._signatures += found[:, : self._bins].tobytes()


def _is_long(text: Bare) -> bool:
    return len(text) > CERTAINLY_LONG or count_words(text) >= LONG


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
    numbers, own = _fresh(prints, again)
    for pairs in similar_pairs(own, second=None if second is None else second[numbers]):
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
    numbers, own = _fresh(prints, again)
    start = int(np.searchsorted(numbers, first))
    is_near[group[numbers[start:][similar_to_any(own[start:], own[:start])]]] = True
    return is_near[group[first:]]


def _fresh(prints: Fingerprints, again: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Signatures]:
    """The numbers and signatures of long texts without those that are there ``again``."""
    fresh = np.flatnonzero(~again[prints.long])
    own = prints.signatures[fresh]
    hide_templates_(own)
    return prints.long[fresh], own


def short_pairs(prints: Fingerprints, *, without: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Pairs of short texts [n, 2] that differ in one word; of equal ones give all but one away."""
    counts = np.where(without, 0, prints.counts)
    yield from gap_pairs(prints.keys[np.repeat(~without, prints.counts)], counts)
