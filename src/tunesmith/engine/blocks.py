"""What may precede a document: keys and values shared, learned or kept, and virtual rows.

Layers with a recurrent state have that of the same tokens instead (`engine/state.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
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


class KeptStates:
    """What one layer with a recurrent state keeps in each slot: its tensors, after ``lengths``.

    A state holds for the one length at which it was kept: it cannot be cut as keys can.
    """

    def __init__(self, shapes: Sequence[Sequence[int]], slots: int, *, like: Tensor) -> None:
        """``shapes`` are those of one slot: the last inputs of a convolution, and the state."""
        inputs, state = shapes
        wide = torch.promote_types(like.dtype, torch.float32)
        self.tensors = like.new_zeros(slots, *inputs), like.new_zeros(slots, *state, dtype=wide)
        self.lengths: list[int | None] = [None] * slots
        self._marked: dict[int, tuple[int, list[Tensor]]] = {}

    def mark(self, slot: int) -> None:
        """Keep the state that the slot holds now; later ones do not replace it."""
        length = self.lengths[slot]
        if length is not None:
            self._marked[slot] = length, [tensor[slot].clone() for tensor in self.tensors]

    def rewind_(self, slot: int, most: int) -> int:
        """Bring back the state after at most ``most`` positions, and return how many; 0 for none.

        The text may differ from there on, so that a state that was marked later is dropped.
        """
        length, (marked, tensors) = self.lengths[slot], self._marked.get(slot, (0, []))
        if marked > most:
            self.unmark(slot)
            marked = 0
        if length is not None and length <= most:
            return length
        if marked:
            for tensor, kept in zip(self.tensors, tensors, strict=True):
                tensor[slot] = kept
            self.lengths[slot] = marked
        return marked

    def unmark(self, slot: int) -> None:
        """Drop a slot's marked state: it begins with another text."""
        self._marked.pop(slot, None)

    def require(self, slot: int, length: int) -> None:
        """Raise RuntimeError where a slot does not hold the state after ``length`` positions."""
        if self.lengths[slot] != length:
            raise RuntimeError(
                f"slot {slot} holds the state after {self.lengths[slot]} positions; the state "
                f"after {length} of them is needed, and can only be computed anew"
            )

    def copy_(self, slot: int, to: int, length: int, *, source: "KeptStates | None" = None) -> None:
        """Copy a slot into another one; none where it holds the state after another length."""
        source = source or self
        for tensor, other in zip(self.tensors, source.tensors, strict=True):
            tensor[to] = other[slot]
        self.lengths[to] = length if source.lengths[slot] == length else None
        self.unmark(to)

    def resize_(self, slots: int) -> None:
        """Make room for another number of slots; the first ones stay as they are."""
        _resize_(self.tensors, slots)
        self.lengths = [*self.lengths, *[None] * slots][:slots]
        self._marked = {slot: kept for slot, kept in self._marked.items() if slot < slots}


def _resize_(tensors: Iterable[Tensor], slots: int) -> None:
    """Give each tensor [slots, ...] another first dimension: its first rows, then zeros."""
    for tensor in tensors:
        new = tensor.new_zeros(slots, *tensor.shape[1:])
        kept = min(slots, len(tensor))
        new[:kept] = tensor[:kept]
        tensor.data = new


class KeyValueCache:
    """Keys and values of earlier calls: per layer two tensors [slots, G, capacity, Dh].

    Layers that share keys have the same two, layers without keys of a text none. Layers with a
    recurrent state have their ``states``.
    """

    def __init__(
        self,
        layers: Sequence[LayerKeys],
        slots: int,
        capacity: int,
        *,
        like: Tensor,
        states: Mapping[int, Sequence[Sequence[int]]] = MappingProxyType({}),
    ) -> None:
        """``like`` gives dtype and device, ``states`` the shapes of a slot, by layer."""
        # Zeros, not empty: a hidden position counts 0 times its value, which must be a number.
        made = {
            layer: [like.new_zeros(slots, layer.heads, capacity, layer.width) for _ in range(2)]
            for layer in layers
        }
        self.keys = [made[layer][0] for layer in layers]
        self.values = [made[layer][1] for layer in layers]
        self.capacity = capacity
        self._own = [tensor for pair in made.values() for tensor in pair]
        self.states = {
            layer: KeptStates(shapes, slots, like=like) for layer, shapes in states.items()
        }

    def read(self, layer: int, slot: int, length: int) -> tuple[Tensor, Tensor]:
        """The first ``length`` positions of a slot, [G, length, Dh] each."""
        return self.keys[layer][slot, :, :length], self.values[layer][slot, :, :length]

    def copy_(
        self, slot: int, to: int, length: int, *, source: "KeyValueCache | None" = None
    ) -> None:
        """Copy the first ``length`` positions of a slot, of ``source`` or of this, into another."""
        source = source or self
        for tensor, other in zip(self._own, source._own, strict=True):
            tensor[to, :, :length] = other[slot, :, :length]
        for layer, states in self.states.items():
            states.copy_(slot, to, length, source=source.states[layer])

    def resize_(self, slots: int) -> None:
        """Make room for another number of slots; the first ones stay as they are.

        Beside the cache itself it takes the memory of one layer.
        """
        _resize_(self._own, slots)
        for states in self.states.values():
            states.resize_(slots)

    def clean_(self, slot: int) -> None:
        """Zero a slot that is not all numbers, before another text takes it.

        What one layer made of something that is no number, the last layer has too. On an
        accelerator any slot is zeroed, as knowing would take longer.
        """
        is_known = self._own[0].device.type == "cpu"
        if not is_known or not all(
            bool(tensor[slot].isfinite().all()) for tensor in self._own[-2:]
        ):
            for tensor in self._own:
                tensor[slot].zero_()

    def mark(self, slot: int) -> None:
        """Keep the states of a slot as they are now, so that ``rewind_`` can return to them."""
        for states in self.states.values():
            states.mark(slot)

    def unmark(self, slot: int) -> None:
        """Drop what was marked of a slot: it begins with another text."""
        for states in self.states.values():
            states.unmark(slot)

    def rewind_(self, slot: int, most: int) -> int:
        """How many of a slot's first ``most`` positions a document can begin with from now on.

        All of them, but for recurrent states, which hold for one length, or for the marked one.
        """
        lengths = {states.rewind_(slot, most) for states in self.states.values()}
        return most if not lengths else lengths.pop() if len(lengths) == 1 else 0

    def require(self, positions: int) -> None:
        """Raise IndexError where a slot has no room for so many positions."""
        if positions > self.capacity:
            raise IndexError(f"position {positions} is beyond the cache's {self.capacity}")

    def write_(self, layer: int, slot: int, start: int, block: tuple[Tensor, Tensor]) -> None:
        """Put keys and values [G, n, Dh] at positions start..start+n of a slot."""
        stop = start + block[0].shape[1]
        self.require(stop)
        self.keys[layer][slot, :, start:stop] = block[0]
        self.values[layer][slot, :, start:stop] = block[1]
