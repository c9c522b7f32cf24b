"""The packed stream: documents laid end to end without padding, each with what stands before it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor


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


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A block that is trained: keys and values after rotary embedding, L tensors [G, P, Dh]."""

    keys: Sequence[Tensor]
    values: Sequence[Tensor]

    @property
    def length(self) -> int:
        """Virtual tokens P."""
        return self.keys[0].shape[1]

    def tensors(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """The trained keys and values of ``layer``."""
        return self.keys[layer], self.values[layer]


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
    """Keys and values of earlier calls: per layer two tensors [slots, G, capacity, Dh]."""

    def __init__(self, shape: tuple[int, int, int, int, int], *, like: Tensor) -> None:
        """``shape`` is (L, slots, G, capacity, Dh); ``like`` gives dtype and device."""
        layers, *one = shape
        # Zeros, not empty: a hidden position counts 0 times its value, which must be a number.
        self.keys = [like.new_zeros(one) for _ in range(layers)]
        self.values = [like.new_zeros(one) for _ in range(layers)]
        self.capacity = shape[3]

    def read(self, layer: int, slot: int, length: int) -> tuple[Tensor, Tensor]:
        """The first ``length`` positions of a slot, [G, length, Dh] each."""
        return self.keys[layer][slot, :, :length], self.values[layer][slot, :, :length]

    def write_(self, layer: int, slot: int, start: int, block: tuple[Tensor, Tensor]) -> None:
        """Put keys and values [G, n, Dh] at positions start..start+n of a slot."""
        stop = start + block[0].shape[1]
        if stop > self.capacity:
            raise IndexError(f"position {stop} is beyond the cache's {self.capacity}")
        self.keys[layer][slot, :, start:stop] = block[0]
        self.values[layer][slot, :, start:stop] = block[1]


@dataclass(frozen=True, slots=True)
class Document:
    """Rows start..stop of the stream: one text, its adapter, and the blocks in front of it.

    ``key`` names the row of data for dropout; ``keep`` is the cache slot that takes the
    document's keys and values, its prefix included. The prefix belongs to the same adapter.
    """

    start: int
    stop: int
    adapter: str | None = None
    prefix: tuple[Block, ...] = ()
    key: int = 0
    keep: tuple[KeyValueCache, int] | None = None

    @property
    def offset(self) -> int:
        """Position of the document's first own token."""
        return sum(block.length for block in self.prefix)

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Dropout:
    """What keys the dropout masks of a step, beside adapter, module, document and token."""

    seed: int
    step: int


@dataclass(frozen=True)
class PackedBatch:
    """T tokens of a stream cut into documents, and the M rows that predict supervised tokens.

    A label row may repeat: the last row of a shared span predicts each document's first token.
    """

    ids: Tensor  # [T] int64
    positions: Tensor  # [T] int64: in the document, its prefix counted
    documents: tuple[Document, ...]
    label_rows: Tensor  # [M] int64
    labels: Tensor  # [M] int64
    weights: Tensor  # [M] float32
    dropout: Dropout | None = None
    plans: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)  # caches

    @cached_property
    def segments(self) -> tuple[tuple[str | None, int, int], ...]:
        """Runs of rows with one adapter: (adapter, start, stop)."""
        runs: list[tuple[str | None, int, int]] = []
        for document in self.documents:
            if runs and runs[-1][0] == document.adapter and runs[-1][2] == document.start:
                runs[-1] = (document.adapter, runs[-1][1], document.stop)
            else:
                runs.append((document.adapter, document.start, document.stop))
        return tuple(runs)

    @cached_property
    def label_segments(self) -> tuple[tuple[str | None, int, int], ...]:
        """Runs of label rows with one adapter: (adapter, start, stop)."""
        ends = torch.tensor([stop for _, _, stop in self.segments], device=self.label_rows.device)
        at = torch.searchsorted(ends, self.label_rows, right=True).tolist()
        runs: list[tuple[str | None, int, int]] = []
        for number, segment in enumerate(at):
            adapter = self.segments[segment][0]
            start = runs.pop()[1] if runs and runs[-1][0] == adapter else number
            runs.append((adapter, start, number + 1))
        return tuple(runs)

    def to(self, device: torch.device) -> "PackedBatch":
        """The same batch with its tensors on ``device``."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("ids", "positions", "label_rows", "labels", "weights")
        }
        return PackedBatch(**moved, documents=self.documents, dropout=self.dropout)


@dataclass(frozen=True, slots=True)
class Row:
    """A row to pack: token ids [n], loss weight of predicting each [n], adapter and data key."""

    ids: Sequence[int]
    weights: Sequence[float]
    adapter: str | None = None
    key: int = 0


def pack(rows: Sequence[Row], *, share: int = 0, dropout: Dropout | None = None) -> PackedBatch:
    """Lay rows end to end, those of one adapter together.

    Rows of one adapter that begin with the same ``share`` tokens or more compute their longest
    common beginning once (0: never); the result is the same, as the gradients of a shared span
    add up.
    """
    builder = _Builder()
    for adapter in dict.fromkeys(row.adapter for row in rows):
        mine = [row for row in rows if row.adapter == adapter]
        for group in _groups(mine, share):
            builder.add(group, _common_length(group) if len(group) > 1 else 0)
    return builder.batch(dropout)


def _groups(rows: Sequence[Row], share: int) -> Iterator[list[Row]]:
    """Rows that agree in their first ``share`` tokens together, the others alone."""
    if share <= 0:
        yield from ([row] for row in rows)
        return
    groups: dict[tuple[int, ...], list[Row]] = {}
    for row in rows:
        head = tuple(int(i) for i in row.ids[:share])
        groups.setdefault(head, []).append(row)
    for head, group in groups.items():
        if len(head) < share or _common_length(group) < share:
            yield from ([row] for row in group)
        else:
            yield group


def _common_length(rows: Sequence[Row]) -> int:
    """Tokens with which all rows begin; every row keeps at least one of its own."""
    limit = min(len(row.ids) for row in rows) - 1
    first = rows[0].ids
    for i in range(limit):
        if any(row.ids[i] != first[i] for row in rows):
            return i
    return limit


class _Builder:
    """Grows the lists of a PackedBatch."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.documents: list[Document] = []
        self.label_rows: list[int] = []
        self.labels: list[int] = []
        self.weights: list[float] = []

    def add(self, rows: Sequence[Row], shared: int) -> None:
        """Append rows; their first ``shared`` tokens become one span in front of them."""
        prefix: tuple[Span, ...] = ()
        if shared:
            prefix = (Span(len(self.ids), len(self.ids) + shared),)
            self._span(rows[0], 0, shared, prefix=())
        for row in rows:
            self._labels(row, shared, prefix[0].start if prefix else len(self.ids))
            self._span(row, shared, len(row.ids), prefix=prefix)

    def _span(self, row: Row, start: int, stop: int, *, prefix: tuple[Span, ...]) -> None:
        first = len(self.ids)
        self.ids.extend(row.ids[start:stop])
        self.positions.extend(range(start, stop))
        self.documents.append(
            Document(first, first + stop - start, row.adapter, prefix=prefix, key=row.key)
        )

    def _labels(self, row: Row, shared: int, shared_start: int) -> None:
        """Row j predicts token j + 1; called before the row's own tokens are appended."""
        own_start = len(self.ids) - shared
        for j, weight in enumerate(row.weights):
            if j and weight:
                self.label_rows.append((shared_start if j - 1 < shared else own_start) + j - 1)
                self.labels.append(int(row.ids[j]))
                self.weights.append(float(weight))

    def batch(self, dropout: Dropout | None) -> PackedBatch:
        """The finished batch, on the CPU."""
        return PackedBatch(
            ids=torch.tensor(self.ids, dtype=torch.int64),
            positions=torch.tensor(self.positions, dtype=torch.int64),
            documents=tuple(self.documents),
            label_rows=torch.tensor(self.label_rows, dtype=torch.int64),
            labels=torch.tensor(self.labels, dtype=torch.int64),
            weights=torch.tensor(self.weights, dtype=torch.float32),
            dropout=dropout,
        )
