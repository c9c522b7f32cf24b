"""Which short texts differ in one word: keys of each text with one of its words left out.

Shingles of short texts are too few for MinHash: one word of six changes half of them.
"""

import zlib
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

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
