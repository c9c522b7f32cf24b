"""Which singular values has s B A, the change of one layer, computed from its factors alone?"""

import torch
from torch import Tensor

from tunesmith.engine.forward import Engine


def singular_values(a: Tensor, b: Tensor, *, scale: float = 1.0) -> Tensor:
    """Those of scale B A for A [R, D_in] and B [D_out, R]: float64 [min(R, D_in, D_out)], falling.

    With B = Q_b R_b and A^T = Q_a R_a they are those of R_b R_a^T, which is R x R: the full
    product [D_out, D_in] is never made. Raises ValueError for factors that do not fit or that
    hold something that is no number.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise ValueError(f"A {list(a.shape)} and B {list(b.shape)} have no product B A")
    left, right = b.detach().double().cpu(), a.detach().double().cpu().T
    if not (torch.isfinite(left).all() and torch.isfinite(right).all()):
        raise ValueError("A or B holds something that is no number")
    triangle_b: Tensor = torch.linalg.qr(left, mode="r").R  # [min(D_out, R), R]
    triangle_a: Tensor = torch.linalg.qr(right, mode="r").R  # [min(D_in, R), R]
    values: Tensor = torch.linalg.svdvals(triangle_b @ triangle_a.T) * abs(scale)
    return values


def spectra(engine: Engine, adapter: str) -> dict[str, tuple[float, ...]]:
    """Singular values of every layer that this attached adapter has a low-rank term beside.

    A start that was taken from W counts by what training changed of it, B A - B0 A0, whose rank
    can be twice that of B A. The row factors of DoRA are left out. Empty for a method without
    such terms. Raises ValueError as `singular_values`, with the layer's name.
    """
    found: dict[str, tuple[float, ...]] = {}
    for name, linear in engine.linears.items():
        term = linear.terms.get(adapter)
        if term is None:
            continue
        a, b = term.product()
        try:
            values = singular_values(a, b, scale=term.scale)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        found[name] = tuple(values.tolist())
    return found
