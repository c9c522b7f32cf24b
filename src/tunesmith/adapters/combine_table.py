"""The rules that combine adapters by name, and KnOTS, which applies one in shared directions.

[D1 ... DN] = U S [V1^T ... VN^T] for the products D_i side by side; a rule combines the S V_i^T,
which all mean the same directions U, and U carries the result back.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch

from tunesmith.adapters.combine_rules import (
    RULES,
    EntryRule,
    Linear,
    MergeLayer,
    MergeMethod,
    rule,
)
from tunesmith.adapters.products import Dense, Product, concatenated
from tunesmith.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Knots:
    """``rule`` works on the S V_i^T; the paper uses TIES and DARE-TIES."""

    rule: EntryRule = field(default_factory=lambda: rule("ties", 1.0))

    def __call__(self, deltas: Sequence[Product], layer: MergeLayer, /) -> Product:
        """A product of the sum of the ranks at most: nothing has to be cut."""
        u, aligned = align(deltas)
        return Product(self.rule(aligned, layer).matrix, u)


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


METHODS: Mapping[str, Callable[..., MergeMethod]] = {
    "linear": Linear,
    "knots": Knots,
    **{kind: functools.partial(rule, kind) for kind in RULES},
}


def made(kind: str, density: float | None = None) -> MergeMethod:
    """The method of a name, with the density that it works at (None: its own).

    Of `knots` it is that of the TIES in shared directions. Raises UsageError for a name that none
    has, and for a density where there is none to set; ConfigError for one that keeps nothing.
    """
    if kind not in METHODS:
        raise UsageError(
            f"There is no way of combining called `{kind}`.",
            remedy=f"Take one of: {', '.join(METHODS)}.",
        )
    if density is None:
        return METHODS[kind]()
    if kind == "knots":
        return Knots(rule("ties", density))
    if kind not in RULES:
        raise UsageError(
            f"`{kind}` keeps every entry: it has no density.",
            remedy=f"Leave the density out, or take one of: {', '.join([*RULES, 'knots'])}.",
        )
    return rule(kind, density)


def density_of(method: MergeMethod) -> float | None:
    """The share of entries that it keeps; None where it keeps all by itself."""
    found = method.rule if isinstance(method, Knots) else method
    return found.density if isinstance(found, EntryRule) else None


def described(method: MergeMethod) -> dict[str, object]:
    """A method's name as ``kind`` with its settings, for a file."""
    if isinstance(method, Knots):
        return {"kind": "knots", "rule": described(method.rule)}
    if not isinstance(method, EntryRule):
        return {"kind": "linear"}
    return {name: value for name, value in asdict(method).items() if value is not None}
