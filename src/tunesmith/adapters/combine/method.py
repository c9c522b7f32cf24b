"""What a way of combining adapters is given for a layer, and what it gives."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from tunesmith.adapters.products import Delta, Dense, Product
from tunesmith.errors import ConfigError


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
