"""One adapter's low-rank term beside a linear layer: y = c (W x + s B A x), c = 1 without DoRA."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from tunesmith.core.errors import AdapterError


def difference(term: tuple[Tensor, Tensor], start: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A [2R, D_in] and B [D_out, 2R] with the product B A - B0 A0 of (A, B) and (A0, B0).

    They are [A; A - A0] and [B - B0, B0]. With [A; A0] and [B, -B0] large products would cancel,
    and in 16 bit much of what was learned would be rounded away.
    """
    (a, b), (a0, b0) = term, start
    return torch.cat([a, a - a0]), torch.cat([b - b0, b0], dim=1)


@dataclass(slots=True, eq=False)
class LowRank:
    """A [R, D_in] and B [D_out, R], fp32 masters, with their scale s.

    ``offset``, A0 and B0 of a start that is taken from W, is subtracted: s (B A - B0 A0). With a
    ``magnitude`` m [D_out] the rows of W + s B A get these norms: c = m / ||W + s B A||, the norm
    taken as a constant in backward (DoRA, arXiv 2402.09353, equation 5 and section 4.3); ``dense``
    gives W then. ``gate`` makes factors [n, R] of x A^T from x [n, D_in], in inference alone.
    Copies in the compute dtype are made once and again after ``refresh``.
    """

    a: nn.Parameter
    b: nn.Parameter
    scale: float
    dropout: float = 0.0
    offset: tuple[nn.Parameter, nn.Parameter] | None = None
    magnitude: nn.Parameter | None = None
    dense: Callable[[], Tensor] | None = None
    gate: Callable[[Tensor], Tensor] | None = None
    _norms: Tensor | None = None  # [D_out], of the rows of W + s B A
    _squares: Tensor | None = None  # [D_out], of the rows of W
    _cast: dict[torch.dtype, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def rank(self) -> int:
        """R of what is trained."""
        return self.a.shape[0]

    @property
    def masters(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """A, B and the magnitude, for autograd."""
        return self.a, self.b, self.magnitude

    def product(self) -> tuple[Tensor, Tensor]:
        """A [R', D_in] and B [D_out, R'] whose product is the whole term; R' = 2 R with offset."""
        a, b = self.a.detach(), self.b.detach()
        if self.offset is None:
            return a, b
        a0, b0 = self.offset
        return difference((a, b), (a0.detach(), b0.detach()))

    def cast(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The product's A and B in ``dtype``, detached."""
        if dtype not in self._cast:
            a, b = self.product()
            self._cast[dtype] = (a.to(dtype), b.to(dtype))
        return self._cast[dtype]

    def inner(self, x: Tensor) -> Tensor:
        """x A^T [n, R] of x [n, D_in], times the gate's factors where there is a gate."""
        xa = x @ self.cast(x.dtype)[0].t()
        return xa if self.gate is None else xa * self.gate(x)

    def factors(self) -> Tensor | None:
        """c [D_out]; None where it is 1."""
        return None if self.magnitude is None else self.magnitude.detach() / self.row_norms()

    def row_norms(self) -> Tensor:
        """||W + s B A|| by row, [D_out], as of the last ``refresh``."""
        assert self._norms is not None, "refresh comes first"
        return self._norms

    def merged(self, weight: Tensor) -> Tensor:
        """W' = c (W + s B A) of a W [D_out, D_in] in fp32; with a magnitude its rows' norms are m.

        W need not be the one beside which the term was trained. Raises AdapterError for a gate.
        """
        if self.gate is not None:
            raise AdapterError(
                "Adapters that are routed token by token have no weights to merge.",
                remedy="Combine them, and merge the combination.",
            )
        a, b = (tensor.to(weight) for tensor in self.product())
        total = torch.addmm(weight, b, a, alpha=self.scale)
        if self.magnitude is None:
            return total
        norms = torch.linalg.vector_norm(total, dim=1)
        norms.clamp_min_(torch.finfo(norms.dtype).tiny)
        return total.mul_((self.magnitude.detach() / norms)[:, None])

    def refresh(self) -> None:
        """Forget the copies and renew the norms, after the masters changed."""
        self._cast.clear()
        if self.dense is not None:
            self._norms = self._measured(self.dense())

    def _measured(self, weight: Tensor) -> Tensor:
        """||W + s B A|| by row without that matrix: ||W||^2 + 2 s W A^T . B + s^2 B A A^T . B."""
        a, b = self.product()
        wide = torch.promote_types(weight.dtype, b.dtype)
        if self._squares is None:
            self._squares = torch.linalg.vector_norm(weight, dim=1, dtype=wide).square()
        mixed = ((weight @ a.to(weight.dtype).t()).to(wide) * b).sum(1)
        own = ((b @ (a @ a.t())) * b).sum(1)
        squares = self._squares + 2 * self.scale * mixed + self.scale**2 * own
        return squares.clamp_min(torch.finfo(b.dtype).tiny).sqrt().to(b.dtype)
