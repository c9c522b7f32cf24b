"""How much of its rank does an adapter use, and would a larger rank reach a lower loss?"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from tunesmith.core.phrases import Phrases
from tunesmith.engine.forward import Engine
from tunesmith.evaluation.findings import Described, Finding, findings_text
from tunesmith.evaluation.intervals import LEVEL, unbounded_interval


def singular_values(a: Tensor, b: Tensor, *, scale: float = 1.0) -> Tensor:
    """Those of scale B A for A [R, D_in] and B [D_out, R]: float64 [min(R, D_in, D_out)], falling.

    With B = Q_b R_b and A^T = Q_a R_a they are those of R_b R_a^T, which is R x R: the full
    product [D_out, D_in] is never made. Raises ValueError for factors that do not fit or that
    hold something that is not a number.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
        raise ValueError(f"A {list(a.shape)} and B {list(b.shape)} have no product B A")
    left, right = b.detach().cpu().double(), a.detach().cpu().double().T
    if not (torch.isfinite(left).all() and torch.isfinite(right).all()):
        raise ValueError("A or B holds something that is not a number")
    triangle_b: Tensor = torch.linalg.qr(left, mode="r").R  # [min(D_out, R), R]
    triangle_a: Tensor = torch.linalg.qr(right, mode="r").R  # [min(D_in, R), R]
    values: Tensor = torch.linalg.svdvals(triangle_b @ triangle_a.T) * abs(scale)
    return values


def layer_uses(engine: Engine, adapter: str) -> tuple["LayerUse", ...]:
    """Every layer that this attached adapter has a low-rank term beside.

    An adapter initialized from W counts by what training changed, B A - B0 A0, whose rank can be
    twice that of B A. The row factors of DoRA are left out. Empty for a method without such terms.
    Raises ValueError as `singular_values`, with the layer's name.
    """
    found: list[LayerUse] = []
    for name, linear in engine.linears.items():
        term = linear.terms.get(adapter)
        if term is None or term.a is None:
            continue
        a, b = term.product()
        try:
            values = singular_values(a, b, scale=term.scale)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        found.append(LayerUse(name, term.rank, tuple(values.tolist())))
    return tuple(found)


MAX_ENERGY = 0.99  # a product cut at this share of its energy is off by a tenth of its size


@dataclass(frozen=True, slots=True)
class LayerUse:
    """A layer's rank R, its singular values (falling), and what follows from them."""

    layer: str
    rank: int
    values: tuple[float, ...]

    @property
    def energy(self) -> float:
        """The squared size of the layer's change, ||s B A||^2."""
        return math.fsum(value * value for value in self.values)

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the singular values' shares (Roy & Vetterli 2007, EUSIPCO).

        Between 1 (one direction) and R (all alike); 0 for a layer that nothing changed.
        """
        total = math.fsum(self.values)
        shares = [value / total for value in self.values if value > 0] if total > 0 else []
        return math.exp(-math.fsum(share * math.log(share) for share in shares)) if shares else 0.0

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of the energy that the first 1, 2, ... directions hold; empty where it is 0."""
        return cumulative([value * value for value in self.values])

    def to_json(self) -> dict[str, object]:
        """One layer of the document."""
        return {
            "layer": self.layer,
            "rank": self.rank,
            "effective_rank": self.effective_rank,
            "norm": math.sqrt(self.energy),
            "rank_for_99": rank_for(self.shares),
            "singular_values": list(self.values),
        }


@dataclass(frozen=True, slots=True)
class RankUse:
    """Every layer of one adapter; there is one at least."""

    layers: tuple[LayerUse, ...]

    @property
    def rank(self) -> int:
        """The rank of most layers."""
        ranks = [each.rank for each in self.layers]
        return max(sorted(set(ranks), reverse=True), key=ranks.count)

    @property
    def trained(self) -> tuple[LayerUse, ...]:
        """Layers that something changed."""
        return tuple(each for each in self.layers if each.energy > 0)

    @property
    def effective_share(self) -> float:
        """Effective rank as a share of R: the mean over layers, each at its share of the energy.

        A layer that hardly changed says little about what the rank is good for.
        """
        total = math.fsum(each.energy for each in self.trained)
        weighted = (each.energy * each.effective_rank / len(each.values) for each in self.trained)
        return math.fsum(weighted) / total if total > 0 else 0.0

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of all layers' energy that their first 1, 2, ... directions hold."""
        columns = itertools.zip_longest(*(each.values for each in self.layers), fillvalue=0.0)
        return cumulative([math.fsum(value**2 for value in column) for column in columns])

    def to_json(self) -> dict[str, object]:
        """The document's part without its findings."""
        return {
            "rank": self.rank,
            "effective_share": self.effective_share,
            "rank_for_99": rank_for(self.shares),
            "energy_shares": list(self.shares),
            "layers": [each.to_json() for each in self.layers],
        }


def cumulative(energies: Sequence[float]) -> tuple[float, ...]:
    """Share of the total that the first 1, 2, ... hold; empty where there is nothing."""
    total = math.fsum(energies)
    if not total > 0:
        return ()
    sums = [math.fsum(energies[: k + 1]) / total for k in range(len(energies))]
    return tuple(min(1.0, share) for share in sums)


def rank_for(shares: Sequence[float], share: float = MAX_ENERGY) -> int:
    """The fewest directions that hold this share of the energy; 0 without any."""
    return next((k for k, held in enumerate(shares, start=1) if held >= share), 0)


MATTERS = 0.05  # of the loss: another seed changes it by as much


@dataclass(frozen=True, slots=True)
class RankPoint:
    """A rank, and the loss of each training row with it (nats per supervised token)."""

    rank: int
    losses: Sequence[float]

    @property
    def loss(self) -> float:
        """The mean over rows."""
        return statistics.mean(self.losses)


@dataclass(frozen=True, slots=True)
class FloorFall:
    """From one rank to the next larger one: share of the loss that went, with its limits."""

    rank: int
    larger: int
    fall: float
    low: float
    high: float

    @property
    def matters(self) -> bool:
        """Whether the larger rank surely reaches a loss that is lower by `MATTERS`."""
        return self.low > MATTERS


def loss_falls(points: Sequence[RankPoint], *, seed: int) -> tuple[FloorFall, ...]:
    """Each rank against the next larger one, row by row; several comparisons share the error.

    Raises ValueError for fewer than two ranks, a rank given twice, or rows that differ.
    """
    ordered = sorted(points, key=lambda point: point.rank)
    if len({point.rank for point in ordered}) < max(2, len(ordered)):
        raise ValueError("two different ranks or more are compared, each given once")
    if len({len(point.losses) for point in ordered}) > 1 or len(ordered[0].losses) < 2:
        raise ValueError("ranks are compared over the same two rows or more")
    strict = 1 - (1 - LEVEL) / (len(ordered) - 1)
    return tuple(
        _fall(small, large, seed=seed, level=strict) for small, large in itertools.pairwise(ordered)
    )


def _fall(small: RankPoint, large: RankPoint, *, seed: int, level: float) -> FloorFall:
    differences = [a - b for a, b in zip(small.losses, large.losses, strict=True)]
    lost = unbounded_interval(differences, seed=seed, level=level)
    limits = (each / (small.loss or 1.0) for each in (lost.mean, lost.low, lost.high))
    return FloorFall(small.rank, large.rank, *limits)


FULL = 0.95
"""Effective rank as a share of R above which no direction is spare. Factors of random numbers
reach 0.97 (R = 64) to 0.998 (R = 4), 20 rows seen 50 times at R = 16 reach 0.64."""

SPARE = 0.25
"""Share of the rank at or under which 99 % of the energy lie for a hint. Ordinary runs at R = 16
need 12 directions and more, so that half the rank would be chance, and a quarter is not."""

MIN_SPARE_RANK = 8
"""Of smaller ranks a quarter is one direction, and nothing is saved."""


@dataclass(frozen=True, slots=True)
class Capacity(Described):
    """Rank use of a run, falls of the loss where ranks were compared, and the findings."""

    use: RankUse
    falls: tuple[FloorFall, ...]
    findings: tuple[Finding, ...]

    def describe(self, words: Phrases) -> str:
        """The findings in words."""
        return findings_text("capacity", self.findings, words)

    def values(self) -> Mapping[str, object]:
        """The part `capacity` of the evaluate document."""
        return {
            **self.use.to_json(),
            "loss_against_rank": [asdict(each) for each in self.falls],
            "findings": [each.to_json() for each in self.findings],
        }


def assess_capacity(use: RankUse, falls: Sequence[FloorFall] = ()) -> Capacity:
    """Findings: `untrained`, `spare-rank`, `full-rank`, and of a comparison `rank-too-low` or
    `rank-enough`. A flat spectrum alone is no harm: more rank may help, or not.
    """
    return Capacity(use, tuple(falls), (*_of_use(use), *falls_findings(use.rank, falls)))


def _of_use(use: RankUse) -> list[Finding]:
    if not use.trained:
        return [Finding("untrained", harm=True)]
    longest, needed = max(len(each.values) for each in use.layers), rank_for(use.shares)
    if use.rank > 1 and use.effective_share >= FULL:
        return [Finding("full-rank", {"rank": use.rank, "used_share": use.effective_share})]
    if longest >= MIN_SPARE_RANK and needed <= SPARE * longest:
        values = {"rank": use.rank, "needed": needed, "energy_share": MAX_ENERGY}
        return [Finding("spare-rank", values)]
    return []


def falls_findings(rank: int, falls: Sequence[FloorFall]) -> list[Finding]:
    """What a comparison of ranks shows for a run of this rank."""
    mattering = [each for each in falls if each.matters]
    if mattering:
        last = mattering[-1]
        values = {
            "rank": last.rank,
            "larger": last.larger,
            "fall_share": last.fall,
            "low_share": last.low,
            "high_share": last.high,
        }
        return [Finding("rank-too-low", values, harm=rank <= last.rank)]
    if falls and all(each.high < MATTERS for each in falls):
        return [Finding("rank-enough", {"rank": falls[0].rank, "larger": falls[-1].larger})]
    return []


def capacity_of(engine: Engine, adapter: str) -> Capacity | None:
    """The part `capacity` of an evaluation; None for a method without low-rank terms.

    Raises ValueError where factors are no numbers.
    """
    layers = layer_uses(engine, adapter)
    return assess_capacity(RankUse(layers)) if layers else None
