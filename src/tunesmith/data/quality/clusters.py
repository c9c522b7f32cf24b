"""Which rows belong together, given pairs that do."""

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
