"""What adapters add to a linear layer's W: s B A by its factors, or a dense matrix."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from tunesmith.engine.term import principal

# Of a dense product that are made at a time: few enough to stay in the processor's cache.
BLOCK_ENTRIES = 2**16


@dataclass(frozen=True, slots=True)
class Singular:
    """U [D_out, K], S [K] falling, V [D_in, K] of a product U S V^T, in float64."""

    u: Tensor
    s: Tensor
    v: Tensor


class Delta(Protocol):
    """A change [D_out, D_in] of a linear layer's weight."""

    @property
    def shape(self) -> tuple[int, int]:
        """D_out and D_in."""

    @property
    def rank(self) -> int | None:
        """How many columns of factors it has; None for a dense matrix."""

    @property
    def dtype(self) -> torch.dtype:
        """float32, or float64 where the adapter is stored in that."""

    def rows(self, start: int, stop: int) -> Tensor:
        """Its rows [stop - start, D_in]."""

    def norm(self) -> float:
        """Its Frobenius norm."""

    def distance(self, other: "Product") -> float:
        """The Frobenius norm of what is left without ``other``."""

    def nearest(self, rank: int, *, exact: bool, seed: int) -> "Product":
        """A product of this rank at most that is near it; itself where it has that rank."""


@dataclass(frozen=True, slots=True)
class Product:
    """s B A, with A [R, D_in] and B [D_out, R]."""

    a: Tensor
    b: Tensor
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """D_out and D_in."""
        return self.b.shape[0], self.a.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Of A and B."""
        return self.a.dtype

    @property
    def rank(self) -> int:
        """R, whether all of it is used or not."""
        return self.a.shape[0]

    def times(self, weight: float) -> "Product":
        """The product ``weight`` times."""
        return Product(self.a, self.b, self.scale * weight)

    def to(self, dtype: torch.dtype) -> "Product":
        """With its factors in another number format."""
        return Product(self.a.to(dtype), self.b.to(dtype), self.scale)

    def rows(self, start: int, stop: int) -> Tensor:
        """Its rows [stop - start, D_in]."""
        return (self.b[start:stop] @ self.a).mul_(self.scale)

    def norm(self) -> float:
        """Its Frobenius norm, from small matrices."""
        return float(self._core()[1].norm())

    def distance(self, other: "Product") -> float:
        """||self - other||, from small matrices: nothing cancels in 16 or 32 bit."""
        return concatenated([self.to(torch.float64), other.times(-1).to(torch.float64)]).norm()

    def nearest(self, rank: int, *, exact: bool = True, seed: int = 0) -> "Product":  # noqa: ARG002
        """The nearest product of this rank (Eckart and Young); always exact."""
        if self.rank <= rank:
            return self
        return _balanced(self.svd(), rank, self.dtype)

    def svd(self) -> Singular:
        """Its singular values and vectors, K = min(R, D_out, D_in), without the dense product.

        s B A = Qb (s Rb Ra^T) Qa^T, with the thin decompositions B = Qb Rb and A^T = Qa Ra.
        """
        qb, core, qa = self._core()
        u, s, vt = torch.linalg.svd(core, full_matrices=False)
        return Singular(qb @ u, s, qa @ vt.t())

    def _core(self) -> tuple[Tensor, Tensor, Tensor]:
        """Qb [D_out, K], s Rb Ra^T [K, K'] and Qa [D_in, K'], in float64."""
        qb, rb = torch.linalg.qr(self.b.double())
        qa, ra = torch.linalg.qr(self.a.double().t())
        return qb, self.scale * rb @ ra.t(), qa


@dataclass(frozen=True, slots=True)
class Dense:
    """A matrix [D_out, D_in] that no thin factors are known of."""

    matrix: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """D_out and D_in."""
        return self.matrix.shape[0], self.matrix.shape[1]

    @property
    def rank(self) -> None:
        """None: it has no factors."""
        return

    @property
    def dtype(self) -> torch.dtype:
        """Of the matrix."""
        return self.matrix.dtype

    def rows(self, start: int, stop: int) -> Tensor:
        """Its rows [stop - start, D_in]."""
        return self.matrix[start:stop]

    def norm(self) -> float:
        """Its Frobenius norm."""
        return _norm(self.rows(*block) for block in blocks(self.shape))

    def distance(self, other: Product) -> float:
        """||self - other||, in blocks of rows."""
        other = other.to(self.dtype)
        return _norm(self.rows(*block) - other.rows(*block) for block in blocks(self.shape))

    def nearest(self, rank: int, *, exact: bool, seed: int) -> Product:
        """The nearest product of this rank, or by randomized subspace iteration nearly that."""
        if exact:
            u, s, vt = torch.linalg.svd(self.matrix, full_matrices=False)
            return _balanced(Singular(u, s, vt.t()), rank, self.dtype)
        return Product(*principal(self.matrix, min(rank, *self.shape), 1.0, seed))


def concatenated(products: Sequence[Product]) -> Product:
    """Their exact sum, of the sum of their ranks: [B1 B2 ...] [A1; A2; ...], scales in B."""
    wide = products[0].dtype
    for each in products[1:]:
        wide = torch.promote_types(wide, each.dtype)
    a = torch.cat([each.a.to(wide) for each in products])
    b = torch.cat([each.b.to(wide) * each.scale for each in products], dim=1)
    return Product(a, b)


def blocks(shape: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """First and last row of blocks of a matrix [D_out, D_in] that need little memory."""
    height = max(1, BLOCK_ENTRIES // shape[1])
    return ((start, min(start + height, shape[0])) for start in range(0, shape[0], height))


def by_rows(deltas: Sequence[Delta], rule: Callable[[Tensor], Tensor]) -> Dense:
    """Entry by entry: ``rule`` makes [n, D_in] of all deltas' rows [N, n, D_in], block by block."""
    shape = deltas[0].shape
    matrix = torch.empty(shape, dtype=deltas[0].dtype)
    for start, stop in blocks(shape):
        matrix[start:stop] = rule(torch.stack([each.rows(start, stop) for each in deltas]))
    return Dense(matrix)


@dataclass(slots=True)
class RelativeError:
    """||difference|| / ||whole||, both Frobenius norms, by layer and of all layers together."""

    layers: dict[str, float] = field(default_factory=dict)
    _far: float = 0.0  # sums of squares
    _whole: float = 0.0

    def add(self, layer: str, far: float, whole: float) -> None:
        """The norms of one layer."""
        self.layers[layer] = _share(far, whole)
        self._far += far**2
        self._whole += whole**2

    @property
    def overall(self) -> float:
        """Of all layers, as if they were one matrix."""
        return _share(math.sqrt(self._far), math.sqrt(self._whole))


def _share(far: float, whole: float) -> float:
    return far / whole if whole else math.inf if far else 0.0


def _norm(parts: Iterable[Tensor]) -> float:
    """The Frobenius norm of all parts together."""
    return math.hypot(*(float(part.double().norm()) for part in parts))


def _balanced(parts: Singular, rank: int, dtype: torch.dtype) -> Product:
    """The largest singular values, their roots in A and B alike."""
    roots = parts.s[:rank].sqrt()
    a, b = (parts.v[:, :rank] * roots).t(), parts.u[:, :rank] * roots
    return Product(a.to(dtype).contiguous(), b.to(dtype).contiguous())
