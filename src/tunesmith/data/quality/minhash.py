"""Which long texts are alike: MinHash by one permutation (Li, Owen, Zhang 2012, NeurIPS) and LSH.

Shingles are windows of bytes, so that it is the same for every script.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality.text import Bare

BINS, ROWS_PER_BAND = 64, 4
WINDOW = 8  # bytes of a shingle
NEAR = 0.75  # share of shingles in common from which texts are nearly the same
FEWEST_BINS = 6  # from which on a similarity says something
# Texts with a part in common: beyond both it is a template that they are written in.
FEWEST_ALIKE, SHARE_ALIKE = 8, 0.05
NEIGHBOURS = 4  # of a row in a bucket that it is compared with
MOST_OTHERS = 64  # in a bucket, where rows are compared with others of a second set
AT_ONCE = 32  # texts whose shingles fit into the processor's cache
_EMPTY = np.uint8(0xFF)
_EMPTY_BAND = np.uint32(0xFFFFFFFF)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_AT_ONCE_COMPARED = 1 << 16

Signatures = NDArray[np.uint8]


def shingles(texts: Sequence[Bare]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of the windows of each text, one text after the other, and where each begins [N + 1].

    Texts have at least WINDOW bytes; windows that would cross an end are copies of the first.
    """
    data = [text.encode("utf-8", "surrogatepass").ljust(WINDOW) for text in texts]
    starts = np.cumsum([0, *map(len, data)], dtype=np.int64)
    joined = b"".join(data) + bytes(WINDOW)
    raw = np.ndarray(shape=(int(starts[-1]),), dtype="<u8", buffer=joined, strides=(1,))
    mixed = raw * _MULTIPLIER
    mixed ^= mixed >> np.uint64(32)
    mixed *= _MULTIPLIER
    crossing = starts[1:, None] - np.arange(1, WINDOW)
    mixed[crossing] = mixed[starts[:-1], None]
    return mixed, starts


def signatures(hashes: NDArray[np.uint64], starts: NDArray[np.int64]) -> Signatures:
    """The least hash of each text in each bin, 8 bits of it: uint8 [N, BINS] (b-bit MinHash, Li
    and König 2010).
    """
    count = len(starts) - 1
    place = np.repeat(np.arange(0, count * BINS, BINS), np.diff(starts))
    place += (hashes >> np.uint64(58)).astype(np.int64)
    least = np.full(count * BINS, 0xFFFFFFFF, dtype=np.uint32)
    np.minimum.at(least, place, (hashes >> np.uint64(24)).astype(np.uint32))
    found: Signatures = np.minimum(least & np.uint32(0xFF), _EMPTY - 1).astype(np.uint8)
    found[least == 0xFFFFFFFF] = _EMPTY
    return found.reshape(count, BINS)


def similarity(a: Signatures, b: Signatures) -> NDArray[np.float64]:
    """The estimated share of shingles that each two rows [n, BINS] have in common, [n].

    It is 0 where too few bins are left to tell.
    """
    either = (a != _EMPTY) | (b != _EMPTY)
    same = np.count_nonzero((a == b) & either, axis=1)
    bins = np.count_nonzero(either, axis=1)
    shared: NDArray[np.float64] = np.where(bins < FEWEST_BINS, 0.0, same / np.maximum(bins, 1))
    return shared


def near_pairs(
    found: Signatures, *, second: NDArray[np.uint64] | None = None
) -> Iterator[NDArray[np.int64]]:
    """Pairs of rows [n, 2] that are nearly the same; ``second`` brings some of a bucket together.

    A row is compared with its neighbours in each bucket only: of rows that are all alike these are
    enough to join them.
    """
    for start in range(0, BINS, ROWS_PER_BAND):
        band = np.ascontiguousarray(found[:, start : start + ROWS_PER_BAND])
        rows = np.flatnonzero((band != _EMPTY).any(axis=1))
        keys = band[rows].view(np.uint32).ravel()
        then = rows if second is None else second[rows]
        order = np.lexsort((then, keys))
        keys, rows = keys[order], rows[order]
        for step in range(1, NEIGHBOURS + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            for part in range(0, len(same), _AT_ONCE_COMPARED):
                at = same[part : part + _AT_ONCE_COMPARED]
                a, b = rows[at], rows[at + step]
                near = similarity(found[a], found[b]) >= NEAR
                yield np.stack([a[near], b[near]], axis=1)


def near_any(found: Signatures, others: Signatures) -> NDArray[np.bool_]:
    """Which rows of ``found`` are nearly the same as one of ``others`` in a bucket, bool [N]."""
    near = np.zeros(len(found), dtype=bool)
    for start in range(0, BINS, ROWS_PER_BAND):
        band, other = (
            np.ascontiguousarray(each[:, start : start + ROWS_PER_BAND]).view(np.uint32).ravel()
            for each in (found, others)
        )
        order = np.argsort(other, kind="stable")
        rows = np.flatnonzero(~near & (band != _EMPTY_BAND))
        place = np.searchsorted(other[order], band[rows])
        stop = np.searchsorted(other[order], band[rows], side="right")
        for _ in range(MOST_OTHERS):
            left = ~near[rows] & (place < stop)
            rows, place, stop = rows[left], place[left], stop[left]
            for part in range(0, len(rows), _AT_ONCE_COMPARED):
                some = rows[part : part + _AT_ONCE_COMPARED]
                beside = order[place[part : part + _AT_ONCE_COMPARED]]
                near[some] = similarity(found[some], others[beside]) >= NEAR
            place = place + 1
    return near


def hide_templates_(found: Signatures) -> None:
    """Empty the bins whose hash more rows have than copies would: it is of a common template."""
    most = max(FEWEST_ALIKE, SHARE_ALIKE * len(found))
    for column in found.T:
        column[np.bincount(column, minlength=256)[column] > most] = _EMPTY
