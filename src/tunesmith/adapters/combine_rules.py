"""Rules that combine deltas: linear, magnitude pruning, TIES, DARE, SCE and KnOTS.

A rule that works entry by entry is what it keeps of each delta, and how what is kept becomes one
matrix; the table ``RULES`` pairs both. KnOTS applies one in shared directions. A
negative weight removes a skill. Summing A and B themselves would be something else:
(B1 + B2)(A1 + A2) has the cross terms B1 A2 + B2 A1.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tunesmith.adapters.products import Delta, Dense, Product, blocks, by_rows, concatenated
from tunesmith.core.errors import ConfigError, UsageError

# What elects an entry's sign: the sum of the values, or the count of the signs.
Signs = Literal["total", "frequency"]
Rows = Callable[[Tensor], Tensor]
"""A function of the same rows of all N deltas, [N, n, D_in]."""


@dataclass(frozen=True, slots=True)
class MergeLayer:
    """Where deltas are combined: the layer, how many adapters there are in all, the seed.

    Adapters without this layer count, and give no delta.
    """

    name: str
    adapters: int
    seed: int = 0

    def generator(self, index: int) -> torch.Generator:
        """Of the ``index``-th delta: what it draws depends on no other layer."""
        key = f"{self.seed}:{self.name}:{index}".encode()
        digest = hashlib.blake2b(key, digest_size=7).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


MergeMethod = Callable[[Sequence[Product], MergeLayer], Delta]
"""Makes one delta of what adapters add to a layer, each already times its weight."""


@dataclass(frozen=True, slots=True)
class Linear:
    """The sum as one product of the sum of the ranks; a single adapter stays as it is."""

    def __call__(self, deltas: Sequence[Product], layer: MergeLayer, /) -> Product:  # noqa: ARG002
        """[w1 s1 B1, w2 s2 B2, ...] [A1; A2; ...]."""
        alone = len(deltas) == 1 and deltas[0].scale > 0
        return deltas[0] if alone else concatenated(deltas)


@dataclass(frozen=True, slots=True)
class EntryRule:
    """A method that works entry by entry, on products as on dense matrices.

    ``kind`` is its name in ``RULES``; ``density`` the share of a layer's entries that it keeps,
    ``signs`` what elects an entry's sign, for the rules that elect one. Raises ConfigError for a
    density that is no share.
    """

    kind: str
    density: float
    signs: Signs | None = None

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:
            raise ConfigError(
                f"density is {self.density:g}; it is the share of entries that are kept.",
                remedy="Set it above 0 and to 1 at most.",
            )

    def __call__(self, deltas: Sequence[Delta], layer: MergeLayer, /) -> Dense:
        """One delta of one or more of the same shape."""
        parts = RULES[self.kind]
        keep = parts.keep(deltas, layer, self.density)
        reduce = parts.reduce(deltas, keep, self.signs or "total")
        return by_rows(deltas, lambda rows: reduce(keep(rows)))


def rule(kind: str, density: float | None = None, signs: Signs | None = None) -> EntryRule:
    """The rule of a name in ``RULES``, with its own settings where none are given."""
    parts = RULES[kind]
    own = parts.density if density is None else density
    return EntryRule(kind, own, signs or parts.signs)


def trim(deltas: Sequence[Delta], _: MergeLayer, density: float) -> Rows:
    """Keeps the entries of each delta that are at least as large as its k-th largest.

    k is ``density`` of a delta's entries, rounded down (as PEFT does); at least one.
    """
    least = torch.stack([_least_kept(each, density) for each in deltas])[:, None, None]
    return lambda rows: rows * (rows.abs() >= least)


def _least_kept(delta: Delta, density: float) -> Tensor:
    """The magnitude [] of the smallest entry that is kept; one delta's matrix exists meanwhile."""
    count = math.prod(delta.shape)
    kept = max(1, int(density * count))
    if kept == count:
        return torch.zeros((), dtype=delta.dtype)
    sizes = torch.empty(delta.shape, dtype=delta.dtype)
    for start, stop in blocks(delta.shape):
        torch.abs(delta.rows(start, stop), out=sizes[start:stop])
    return _kth_largest_(sizes, kept)


def _kth_largest_(values: Tensor, k: int) -> Tensor:
    """The k-th largest entry []; reorders ``values``. numpy's selection, as torch's is slower."""
    flat = values.view(-1).numpy()
    flat.partition(len(flat) - k)
    return torch.tensor(flat[len(flat) - k], dtype=values.dtype)


def drop(deltas: Sequence[Delta], layer: MergeLayer, density: float) -> Rows:
    """Keeps entries at random, each counting 1 / density times: 1 - density is the paper's p.

    Rows are given from the first to the last; each delta draws from a generator of its own.
    """
    generators = [layer.generator(index) for index in range(len(deltas))]

    def dropped(rows: Tensor) -> Tensor:
        draws = [torch.rand(rows.shape[1:], generator=each) for each in generators]
        return rows * (torch.stack(draws) < density) / density

    return dropped


def select_varying(deltas: Sequence[Delta], layer: MergeLayer, density: float) -> Rows:
    """Keeps the entries in which the adapters differ most: this share of those that differ at all.

    Adapters without this layer count as zeros in the variance.
    """
    least = torch.zeros((), dtype=deltas[0].dtype)
    if density < 1:  # one matrix of variances exists meanwhile
        spread = by_rows(deltas, lambda rows: _variance(rows, layer.adapters)).matrix
        kept = int(density * int(spread.count_nonzero()))
        least = _kth_largest_(spread, kept) if kept else torch.full_like(least, torch.inf)
    return lambda rows: rows * (_variance(rows, layer.adapters) >= least)


def _variance(rows: Tensor, adapters: int) -> Tensor:
    """Over ``adapters`` values, [n, D_in] of [N, n, D_in]; those beyond N are zero."""
    mean = rows.sum(0) / adapters
    squares = (rows - mean).square().sum(0) + (adapters - len(rows)) * mean.square()
    return squares / adapters


def total(_: Sequence[Delta], __: Rows, ___: Signs) -> Rows:
    """The sum of what is kept; of `dare` its mean over the seeds is the linear combination."""
    return lambda rows: rows.sum(0)


def agreeing_mean(_: Sequence[Delta], __: Rows, signs: Signs) -> Rows:
    """The mean of the kept values with the elected sign; zero where there are none."""

    def mean(rows: Tensor) -> Tensor:
        agreeing = _agrees(rows, signs)
        return (rows * agreeing).sum(0) / agreeing.sum(0).clamp_min(1)

    return mean


def _agrees(rows: Tensor, signs: Signs) -> Tensor:
    """Which entries [N, n, D_in] have the sign that is elected for their place.

    Where positive and negative balance there is no sign, and nothing agrees (the paper's sgn).
    """
    votes = rows if signs == "total" else rows.sign()
    elected = votes.sum(0).sign()
    return (rows.sign() == elected) & (rows != 0)


def weigh_by_energy(deltas: Sequence[Delta], keep: Rows, signs: Signs) -> Rows:
    """The mean of the agreeing values, each adapter weighing the squares of all that it keeps."""
    energies = torch.zeros(len(deltas), dtype=torch.float64)
    for block in blocks(deltas[0].shape):
        kept = keep(torch.stack([each.rows(*block) for each in deltas]))
        energies += kept.square().sum((1, 2), dtype=torch.float64)
    whole = energies.sum()
    weights = (energies / whole if whole else energies).to(deltas[0].dtype)[:, None, None]

    def mean(rows: Tensor) -> Tensor:
        counted = weights * _agrees(rows, signs)
        left = counted.sum(0)
        return (rows * counted).sum(0) / torch.where(left == 0, torch.ones_like(left), left)

    return mean


class RuleParts(NamedTuple):
    """What a rule keeps, how what is kept becomes one matrix [n, D_in], and its own settings."""

    keep: Callable[[Sequence[Delta], MergeLayer, float], Rows]
    reduce: Callable[[Sequence[Delta], Rows, Signs], Rows]
    density: float
    signs: Signs | None = None


RULES: Mapping[str, RuleParts] = {
    "ties": RuleParts(trim, agreeing_mean, 0.2, "total"),
    "dare": RuleParts(drop, total, 0.5),
    "dare-ties": RuleParts(drop, agreeing_mean, 0.5, "total"),
    "magnitude": RuleParts(trim, total, 0.5),
    "sce": RuleParts(select_varying, weigh_by_energy, 0.1),
}


@dataclass(frozen=True, slots=True)
class Knots:
    """KnOTS: ``rule`` in directions that the products share; the paper uses TIES and DARE-TIES.

    [D1 ... DN] = U S [V1^T ... VN^T] for the products D_i side by side. The rule combines the
    S V_i^T, which share the directions U, and U carries the result back.
    """

    rule: EntryRule = field(default_factory=lambda: rule("ties", 1.0))

    def __call__(self, deltas: Sequence[Product], layer: MergeLayer, /) -> Product:
        """A product of the sum of the ranks at most: nothing has to be cut."""
        u, aligned = align(deltas)
        return Product(self.rule(aligned, layer).matrix, u)


def align(products: Sequence[Product]) -> tuple[Tensor, list[Dense]]:
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


METHODS = ("linear", "knots", *RULES)


def made(kind: str, density: float | None = None) -> MergeMethod:
    """The method of a name, with the density that it works at (None: its own).

    The density of `knots` is that of the TIES in shared directions. Raises UsageError for an
    unknown name, and for a density where there is none to set; ConfigError for a density that
    keeps nothing.
    """
    if kind not in METHODS:
        raise UsageError(
            f"There is no merge method `{kind}`.", remedy=f"Use one of: {', '.join(METHODS)}."
        )
    if kind == "linear" and density is not None:
        raise UsageError(
            f"`{kind}` keeps every entry: it has no density.",
            remedy=f"Omit the density, or use one of: {', '.join([*RULES, 'knots'])}.",
        )
    if kind == "knots":
        return Knots() if density is None else Knots(rule("ties", density))
    return Linear() if kind == "linear" else rule(kind, density)


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
