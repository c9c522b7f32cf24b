"""Where a linear layer stands in the model: at which depth, and which of its kind."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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
    """The number of the block that a dotted name lies in; None for a layer of none."""
    return next((int(part) for part in layer.split(".") if part.isdigit()), None)


def kind_of(layer: str) -> str:
    """What the layer is in its block: `q_proj`."""
    return layer.rpartition(".")[2]


def kinds_of(layers: Iterable[str]) -> list[str]:
    """Every kind, in the order in which they are met."""
    return list(dict.fromkeys(map(kind_of, layers)))


def bands(layers: Sequence[str], *, most: int) -> list[Band]:
    """The layers from the first block to the last in at most ``most`` bands of like height.

    Layers outside the blocks come last, each by itself.
    """
    at: dict[int, list[str]] = {}
    outside = [Band(None, None, (layer,)) for layer in layers if depth_of(layer) is None]
    for layer in layers:
        if (depth := depth_of(layer)) is not None:
            at.setdefault(depth, []).append(layer)
    depths = sorted(at)
    height = max(1, math.ceil(len(depths) / most))
    groups = [depths[i : i + height] for i in range(0, len(depths), height)]
    inside = [
        Band(group[0], group[-1], tuple(layer for depth in group for layer in at[depth]))
        for group in groups
    ]
    return inside + outside
