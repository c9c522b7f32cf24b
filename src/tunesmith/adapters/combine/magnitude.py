"""Magnitude pruning: sum_i top(w_i s_i B_i A_i), the largest entries of each product alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.adapters.combine.method import Layer, require_density
from tunesmith.adapters.products import Delta, Dense, blocks, by_rows


@dataclass(frozen=True, slots=True)
class Magnitude:
    """``density``: the share of a layer's entries that each adapter keeps."""

    density: float = 0.5

    def __post_init__(self) -> None:
        require_density(self.density)

    def combine(self, deltas: Sequence[Delta], layer: Layer, /) -> Dense:  # noqa: ARG002
        """The sum of what is kept."""
        trim = Trim(deltas, self.density)
        return by_rows(deltas, lambda rows: trim(rows).sum(0))


class Trim:
    """Keeps the entries of each delta that are at least as large as its k-th largest."""

    def __init__(self, deltas: Sequence[Delta], density: float) -> None:
        """k is ``density`` of a delta's entries, rounded down (as PEFT does); at least one."""
        self._least = torch.stack([least_kept(each, density) for each in deltas])[:, None, None]

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows [N, n, D_in] of all deltas with zeros for what is not kept."""
        return rows * (rows.abs() >= self._least)


def least_kept(delta: Delta, density: float) -> Tensor:
    """The magnitude [] of the smallest entry that is kept; one delta's matrix exists meanwhile."""
    count = math.prod(delta.shape)
    kept = max(1, int(density * count))
    if kept == count:
        return torch.zeros((), dtype=delta.dtype)
    sizes = torch.empty(delta.shape, dtype=delta.dtype)
    for start, stop in blocks(delta.shape):
        torch.abs(delta.rows(start, stop), out=sizes[start:stop])
    return kth_largest_(sizes, kept)


def kth_largest_(values: Tensor, k: int) -> Tensor:
    """The k-th largest entry []; reorders ``values``. numpy's selection, as torch's is slower."""
    flat = values.view(-1).numpy()
    flat.partition(len(flat) - k)
    return torch.tensor(flat[len(flat) - k], dtype=values.dtype)
