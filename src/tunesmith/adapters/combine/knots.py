"""KnOTS: adapters combined in directions that they share (arXiv 2410.19735, section 4).

[D1 ... DN] = U S [V1^T ... VN^T] for the products D_i side by side; a rule combines the S V_i^T,
which all mean the same directions U, and U carries the result back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from tunesmith.adapters.combine.method import Layer, Rule
from tunesmith.adapters.combine.ties import Ties
from tunesmith.adapters.products import Dense, Product, concatenated


@dataclass(frozen=True, slots=True)
class Knots:
    """``rule`` works on the S V_i^T; the paper uses TIES and DARE-TIES."""

    rule: Rule = field(default_factory=lambda: Ties(density=1.0))

    def combine(self, deltas: Sequence[Product], layer: Layer, /) -> Product:
        """A product of the sum of the ranks at most: nothing has to be cut."""
        u, aligned = align(deltas)
        return Product(self.rule.combine(aligned, layer).matrix, u)


def align(products: Sequence[Product]) -> tuple[torch.Tensor, list[Dense]]:
    """U [D_out, K] and each adapter's S V_i^T [K, D_in]; K at most the sum of the ranks.

    By small matrices: B = [s1 B1, ...] = Q R and A_i^T = Q_i R_i give U S W^T = [R^1 R_1^T, ...],
    R^i the columns of R that belong to adapter i.
    """
    whole = concatenated(products)
    q, r = torch.linalg.qr(whole.b.double())
    inner = [torch.linalg.qr(each.a.double().t()) for each in products]
    columns = r.split([each.rank for each in products], dim=1)
    core = torch.cat([c @ ra.t() for c, (_, ra) in zip(columns, inner, strict=True)], dim=1)
    u, s, wt = torch.linalg.svd(core, full_matrices=False)
    used = int((s > s[0] * torch.finfo(whole.dtype).eps).sum()) or 1
    parts = (s[:used, None] * wt[:used]).split([qa.shape[1] for qa, _ in inner], dim=1)
    aligned = [
        Dense((part @ qa.t()).to(whole.dtype)) for part, (qa, _) in zip(parts, inner, strict=True)
    ]
    return (q @ u[:, :used]).to(whole.dtype), aligned
