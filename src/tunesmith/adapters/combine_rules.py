"""Rules that combine deltas: linear, magnitude pruning, TIES, DARE and SCE.

A negative weight takes a skill away. Summing A and B themselves would be something else:
(B1 + B2)(A1 + A2) has the cross terms B1 A2 + B2 A1.

Where the adapters differ most is kept; each adapter counts by the squares of what it keeps there;
entries against the sign of the sum are erased, and the rest is averaged by the weights that remain.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from tunesmith.adapters.products import Delta, Dense, Product, blocks, by_rows, concatenated
from tunesmith.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Layer:
    """Where deltas are combined: the layer, how many adapters there are in all, the seed.

    Adapters that have nothing beside this layer count, and give no delta.
    """

    name: str
    adapters: int
    seed: int = 0

    def generator(self, index: int) -> torch.Generator:
        """Of the ``index``-th delta: what it draws depends on no other layer."""
        key = f"{self.seed}:{self.name}:{index}".encode()
        digest = hashlib.blake2b(key, digest_size=7).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


class Method(Protocol):
    """A way of combining what adapters add to a layer, each already times its weight."""

    def combine(self, deltas: Sequence[Product], layer: Layer, /) -> Delta:
        """One delta of one or more of the same shape."""


class Rule(Protocol):
    """A method that works entry by entry, on products as on dense matrices."""

    def combine(self, deltas: Sequence[Delta], layer: Layer, /) -> Dense:
        """One delta of one or more of the same shape."""


def require_density(density: float) -> None:
    """Raise ConfigError for a share of kept entries that is none."""
    if not 0 < density <= 1:
        raise ConfigError(
            f"density is {density:g}; it is the share of entries that are kept.",
            remedy="Set it above 0 and to 1 at most.",
        )


@dataclass(frozen=True, slots=True)
class Linear:
    """The sum as one product of the sum of the ranks; a single adapter stays as it is."""

    def combine(self, deltas: Sequence[Product], layer: Layer, /) -> Product:  # noqa: ARG002
        """[w1 s1 B1, w2 s2 B2, ...] [A1; A2; ...]."""
        alone = len(deltas) == 1 and deltas[0].scale > 0
        return deltas[0] if alone else concatenated(deltas)


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


# What elects an entry's sign: the sum of the values, or the count of the signs.
Signs = Literal["total", "frequency"]


@dataclass(frozen=True, slots=True)
class Ties:
    """``density``: the share of a layer's entries that each adapter keeps (the paper's k)."""

    density: float = 0.2
    signs: Signs = "total"

    def __post_init__(self) -> None:
        require_density(self.density)

    def combine(self, deltas: Sequence[Delta], layer: Layer, /) -> Dense:  # noqa: ARG002
        """The mean of the kept values with the elected sign."""
        trim = Trim(deltas, self.density)
        return by_rows(deltas, lambda rows: agreeing_mean(trim(rows), self.signs))


def agrees(rows: Tensor, signs: Signs) -> Tensor:
    """Which entries [N, n, D_in] have the sign that is elected for their place.

    Where positive and negative balance there is no sign, and nothing agrees (the paper's sgn).
    """
    votes = rows if signs == "total" else rows.sign()
    elected = votes.sum(0).sign()
    return (rows.sign() == elected) & (rows != 0)


def agreeing_mean(rows: Tensor, signs: Signs) -> Tensor:
    """The mean [n, D_in] of those of [N, n, D_in] that agree; zero where none does."""
    agreeing = agrees(rows, signs)
    return (rows * agreeing).sum(0) / agreeing.sum(0).clamp_min(1)


@dataclass(frozen=True, slots=True)
class Dare:
    """``density``: the share of entries that stays, 1 - p; what stays counts 1 / density times."""

    density: float = 0.5

    def __post_init__(self) -> None:
        require_density(self.density)

    def combine(self, deltas: Sequence[Delta], layer: Layer, /) -> Dense:
        """The sum of what stays; its mean over the seeds is the linear combination."""
        drop = dropper(len(deltas), layer, self.density)
        return by_rows(deltas, lambda rows: drop(rows).sum(0))


@dataclass(frozen=True, slots=True)
class DareTies:
    """DARE in the place of TIES' trimming."""

    density: float = 0.5
    signs: Signs = "total"

    def __post_init__(self) -> None:
        require_density(self.density)

    def combine(self, deltas: Sequence[Delta], layer: Layer, /) -> Dense:
        """The mean of what stays and has the elected sign."""
        drop = dropper(len(deltas), layer, self.density)
        return by_rows(deltas, lambda rows: agreeing_mean(drop(rows), self.signs))


def dropper(count: int, layer: Layer, density: float) -> Callable[[Tensor], Tensor]:
    """Drops entries of ``count`` deltas' rows [N, n, D_in], given from the first row to the last.

    Each delta draws from a generator of its own.
    """
    generators = [layer.generator(index) for index in range(count)]

    def drop(rows: Tensor) -> Tensor:
        draws = [torch.rand(rows.shape[1:], generator=each) for each in generators]
        return rows * (torch.stack(draws) < density) / density

    return drop


@dataclass(frozen=True, slots=True)
class Sce:
    """``density``: the share of a layer's entries, of those that differ at all, that is kept."""

    density: float = 0.1

    def __post_init__(self) -> None:
        require_density(self.density)

    def combine(self, deltas: Sequence[Delta], layer: Layer, /) -> Dense:
        """Adapters without this layer count as zeros in the variance, and have no weight."""
        least = self._least_selected(deltas, layer.adapters)

        def selected(rows: Tensor) -> Tensor:
            return rows * (variance(rows, layer.adapters) >= least)

        energies = torch.zeros(len(deltas), dtype=torch.float64)
        for block in blocks(deltas[0].shape):
            rows = torch.stack([each.rows(*block) for each in deltas])
            energies += selected(rows).square().sum((1, 2), dtype=torch.float64)
        total = energies.sum()
        weights = (energies / total if total else energies).to(deltas[0].dtype)[:, None, None]

        def rule(rows: Tensor) -> Tensor:
            rows = selected(rows)
            kept = weights * agrees(rows, "total")
            left = kept.sum(0)
            return (rows * kept).sum(0) / torch.where(left == 0, torch.ones_like(left), left)

        return by_rows(deltas, rule)

    def _least_selected(self, deltas: Sequence[Delta], adapters: int) -> Tensor:
        """The smallest variance [] that is selected; one matrix of variances exists meanwhile."""
        if self.density == 1:
            return torch.zeros((), dtype=deltas[0].dtype)
        spread = by_rows(deltas, lambda rows: variance(rows, adapters)).matrix
        kept = int(self.density * int(spread.count_nonzero()))
        if not kept:
            return torch.full((), torch.inf, dtype=spread.dtype)
        return kth_largest_(spread, kept)


def variance(rows: Tensor, adapters: int) -> Tensor:
    """Over ``adapters`` values, [n, D_in] of [N, n, D_in]; those beyond N are zero."""
    mean = rows.sum(0) / adapters
    squares = (rows - mean).square().sum(0) + (adapters - len(rows)) * mean.square()
    return squares / adapters
