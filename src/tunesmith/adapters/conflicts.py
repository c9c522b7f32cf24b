"""Where adapters conflict before they are combined: by layer, kind of layer and depth."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from tunesmith.adapters.products import Product, blocks
from tunesmith.adapters.sources import AdapterSource, require_alike
from tunesmith.core.errors import AdapterError


@dataclass(frozen=True, slots=True)
class Band:
    """Neighbouring depths, first to last, with their linear layers; None: outside the blocks."""

    first: int | None
    last: int | None
    layers: tuple[str, ...]

    @property
    def name(self) -> str:
        """`11-19`, `7`, or the layer's own name."""
        if self.first is None:
            return self.layers[0]
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


def depth_of(layer: str) -> int | None:
    """The number of the block in a dotted name; None for a layer outside the blocks."""
    return next((int(part) for part in layer.split(".") if part.isdigit()), None)


def kind_of(layer: str) -> str:
    """What the layer is in its block: `q_proj`."""
    return layer.rpartition(".")[2]


def bands(layers: Sequence[str], *, limit: int) -> list[Band]:
    """The layers from the first block to the last in at most ``limit`` bands of equal height.

    Layers outside the blocks come last, each by itself.
    """
    at: dict[int, list[str]] = {}
    outside = [Band(None, None, (layer,)) for layer in layers if depth_of(layer) is None]
    for layer in layers:
        if (depth := depth_of(layer)) is not None:
            at.setdefault(depth, []).append(layer)
    depths = sorted(at)
    height = max(1, math.ceil(len(depths) / limit))
    groups = [depths[i : i + height] for i in range(0, len(depths), height)]
    inside = [
        Band(group[0], group[-1], tuple(layer for depth in group for layer in at[depth]))
        for group in groups
    ]
    return inside + outside


ENERGY = 0.9  # of a product's squares, that its principal directions hold
SHOWN = 3  # layers in a message


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two products D1 and D2 of a layer, or of all layers together.

    ``cosine``: <D1, D2> / (||D1|| ||D2||); 0 for unrelated adapters.
    ``sign_conflict``: share of opposing signs, entries counting |d1 d2|; 0.5 is chance. It does
    not depend on the norms: ``norm_ratio``, ||D2|| / ||D1||, shows which one dominates.
    ``input_overlap``, ``output_overlap``: of the subspaces that the products mainly read from and
    write to, ||U1^T U2||^2 / min(k1, k2) (arXiv 2106.09685, equation 4), where ``chance`` is what
    random subspaces of these sizes have, and ``subspace_overlap`` is the mean of both.
    A product that is zero conflicts with nothing; its measures are nan.
    """

    cosine: float
    sign_conflict: float
    input_overlap: float
    output_overlap: float
    chance: float
    norm_ratio: float

    @property
    def subspace_overlap(self) -> float:
        """The mean of the overlaps of inputs and outputs."""
        return (self.input_overlap + self.output_overlap) / 2


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Two adapters: each layer that both have, all of it together, and layers of one alone.

    Layers of one alone count in the overall cosine and norm ratio, as zeros of the other.
    """

    layers: dict[str, Conflict]
    overall: Conflict
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    _sums: "Mapping[str, _Sums]" = field(repr=False, compare=False)

    def together(self, layers: Iterable[str]) -> Conflict:
        """Some of the layers that both have, as if they were one matrix."""
        return _together([self._sums[layer] for layer in layers]).conflict()


def conflicts(
    first: AdapterSource, second: AdapterSource, *, trust_bases: bool = False
) -> Conflicts:
    """Measure two adapters of one base, a layer at a time.

    Raises AdapterError for different bases, and for adapters that share no layer.
    """
    require_alike([first, second], trust_bases=trust_bases)
    shared = [layer for layer in first.shapes if layer in second.shapes]
    alone = [
        tuple(layer for layer in one.shapes if layer not in other.shapes)
        for one, other in ((first, second), (second, first))
    ]
    if not shared:
        names = ["; ".join(layers[:SHOWN]) for layers in alone]
        raise AdapterError(
            f"{first.folder} and {second.folder} have no layer in common (one has {names[0]}, ..., "
            f"the other {names[1]}, ...).",
            remedy="Their weights do not conflict: the linear combination keeps both whole.",
        )
    sums = {layer: _measure(_product(first, layer), _product(second, layer)) for layer in shared}
    rest = [
        sum(_product(source, layer).norm() ** 2 for layer in layers)
        for layers, source in zip(alone, (first, second), strict=True)
    ]
    overall = _together([*sums.values(), _Sums(first_square=rest[0], second_square=rest[1])])
    layers = {layer: each.conflict() for layer, each in sums.items()}
    return Conflicts(layers, overall.conflict(), alone[0], alone[1], sums)


class _Sums(NamedTuple):
    """What is added up over entries and layers; overlaps and chance times the weight."""

    dot: float = 0.0  # <D1, D2>
    first_square: float = 0.0  # ||D1||^2
    second_square: float = 0.0  # ||D2||^2
    sizes: float = 0.0  # sum |d1 d2|
    opposing: float = 0.0  # that of entries with opposing signs
    inputs: float = 0.0
    outputs: float = 0.0
    chance: float = 0.0
    weight: float = 0.0  # ||D1|| ||D2||, by which overlaps are averaged

    def conflict(self) -> Conflict:
        first, second = math.sqrt(self.first_square), math.sqrt(self.second_square)
        return Conflict(
            cosine=_over(self.dot, first * second),
            sign_conflict=_over(self.opposing, self.sizes),
            input_overlap=_over(self.inputs, self.weight),
            output_overlap=_over(self.outputs, self.weight),
            chance=_over(self.chance, self.weight),
            norm_ratio=_over(second, first),
        )


def _product(source: AdapterSource, layer: str) -> Product:
    product = source.product(layer)
    assert product is not None
    return product


def _measure(one: Product, other: Product) -> _Sums:
    """All but the signs from the factors: <B1 A1, B2 A2> = sum (B1^T B2) . (A1 A2^T)."""
    b1, b2, a1, a2 = (t.double() for t in (one.b, other.b, one.a, other.a))
    dot = one.scale * other.scale * float(((b1.t() @ b2) * (a1 @ a2.t())).sum())
    first, second = one.svd(), other.svd()
    k1, k2 = _principal(first.s), _principal(second.s)
    least, widths = max(min(k1, k2), 1), one.shape
    overlaps = [
        float((x[:, :k1].t() @ y[:, :k2]).square().sum()) / least
        for x, y in ((first.v, second.v), (first.u, second.u))
    ]
    chance = max(k1, k2) * sum(1 / width for width in widths) / 2
    squares = float(first.s.square().sum()), float(second.s.square().sum())
    weight = math.sqrt(squares[0] * squares[1])
    inputs, outputs = (overlap * weight for overlap in overlaps)
    return _Sums(dot, *squares, *_signs(one, other), inputs, outputs, chance * weight, weight)


def _principal(values: Tensor) -> int:
    """How many of the falling singular values hold the share ENERGY of the squares."""
    squares = values.square().cumsum(0)
    if not squares[-1]:
        return 0
    return int((squares < ENERGY * squares[-1]).sum()) + 1


def _signs(one: Product, other: Product) -> tuple[float, float]:
    """sum |d1 d2| over all entries and over those with opposing signs, in blocks of rows."""
    sizes = opposing = 0.0
    for start, stop in blocks(one.shape):
        both = one.rows(start, stop) * other.rows(start, stop)
        sizes += float(both.abs().sum(dtype=torch.float64))
        opposing -= float(both.clamp_max(0).sum(dtype=torch.float64))
    return sizes, opposing


def _together(sums: Iterable[_Sums]) -> _Sums:
    """All of them as one layer."""
    return _Sums(*map(sum, zip(*sums, strict=True)))


def _over(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
