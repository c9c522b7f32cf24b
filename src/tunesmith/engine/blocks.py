"""What may precede a document: keys and values shared, learned or kept, and virtual rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from tunesmith.engine.families import LayerKeys


class Block(Protocol):
    """Keys and values that a document may attend to before its own tokens."""

    @property
    def length(self) -> int:
        """Positions that the block takes."""

    def tensors(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Its keys and values [G, n, Dh] in ``layer``; ``keys`` [G, T, Dh] are the stream's."""


@dataclass(frozen=True, slots=True)
class Span:
    """A block that this stream computes: rows start..stop, shared by the documents after it."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Rows of the span."""
        return self.stop - self.start

    def tensors(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """A view of the stream's own keys and values."""
        return keys[:, self.start : self.stop], values[:, self.start : self.stop]


@dataclass(slots=True, eq=False)
class Learned:
    """A trained block: keys and values after rotary embedding, L tensors [G, P, Dh].

    The cache seam. Layers that share keys have the same tensors. The masters are cast once per
    ``refresh`` (once a step), not at every call.
    """

    keys: Sequence[Tensor]
    values: Sequence[Tensor]
    _cast: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Virtual tokens P."""
        return self.keys[0].shape[1]

    @property
    def vectors(self) -> None:
        """It takes no rows of the stream."""

    def block(self, start: int) -> Block:  # noqa: ARG002
        """What the documents after it see."""
        return self

    def tensors(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """The trained keys and values of ``layer``, detached, in the stream's number format."""
        key = (layer, keys.dtype)
        if key not in self._cast:
            self._cast[key] = (
                self.keys[layer].detach().to(keys.dtype),
                self.values[layer].detach().to(keys.dtype),
            )
        return self._cast[key]

    def refresh(self) -> None:
        """Forget the copies, after the masters changed."""
        self._cast.clear()


@dataclass(frozen=True, slots=True, eq=False)
class Virtual:
    """Virtual tokens: P outputs of the embedding module [P, D] in front of an adapter's documents.

    The stream seam. They are rows of the stream, computed once for all documents after them.
    """

    vectors: nn.Parameter

    @property
    def length(self) -> int:
        """Virtual tokens P."""
        return len(self.vectors)

    def block(self, start: int) -> Block:
        """What the documents after them see."""
        return Span(start, start + len(self.vectors))


class Prefix(Protocol):
    """What an adapter puts in front of every document of its own."""

    @property
    def length(self) -> int:
        """Positions that it takes."""

    @property
    def vectors(self) -> nn.Parameter | None:
        """What its rows of the stream are, [P, D]; None where it takes none."""

    def block(self, start: int) -> Block:
        """The block that the documents see, if its rows begin at ``start``."""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A block kept from an earlier call: the first ``length`` positions of a slot of a cache."""

    cache: "KeyValueCache"
    slot: int
    length: int

    def tensors(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """The kept keys and values of ``layer``."""
        return self.cache.read(layer, self.slot, self.length)


class KeyValueCache:
    """Keys and values of earlier calls: per layer two tensors [slots, G, capacity, Dh].

    Layers that share keys have the same two.
    """

    def __init__(
        self, layers: Sequence[LayerKeys], slots: int, capacity: int, *, like: Tensor
    ) -> None:
        """``like`` gives dtype and device."""
        # Zeros, not empty: a hidden position counts 0 times its value, which must be a number.
        made = {
            layer: [like.new_zeros(slots, layer.heads, capacity, layer.width) for _ in range(2)]
            for layer in layers
        }
        self.keys = [made[layer][0] for layer in layers]
        self.values = [made[layer][1] for layer in layers]
        self.capacity = capacity
        self._own = [tensor for pair in made.values() for tensor in pair]

    def read(self, layer: int, slot: int, length: int) -> tuple[Tensor, Tensor]:
        """The first ``length`` positions of a slot, [G, length, Dh] each."""
        return self.keys[layer][slot, :, :length], self.values[layer][slot, :, :length]

    def copy_(self, slot: int, to: int, length: int) -> None:
        """Copy the first ``length`` positions of a slot into another one."""
        for tensor in self._own:
            tensor[to, :, :length] = tensor[slot, :, :length]

    def write_(self, layer: int, slot: int, start: int, block: tuple[Tensor, Tensor]) -> None:
        """Put keys and values [G, n, Dh] at positions start..start+n of a slot."""
        stop = start + block[0].shape[1]
        if stop > self.capacity:
            raise IndexError(f"position {stop} is beyond the cache's {self.capacity}")
        self.keys[layer][slot, :, start:stop] = block[0]
        self.values[layer][slot, :, start:stop] = block[1]
