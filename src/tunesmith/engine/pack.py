"""Rows of tokens to a packed stream, grouped by adapter and common beginning."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from tunesmith.engine.batch import Document, Dropout, PackedBatch
from tunesmith.engine.blocks import Block, Prefix, Span

PLACEHOLDER = 0  # the id of rows that are no token
NO_PREFIXES: Mapping[str, Prefix] = MappingProxyType({})
NO_DROPOUT: Mapping[str | None, Dropout] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Row:
    """A row to pack: token ids [n], loss weight of predicting each [n], adapter and data key.

    ``teacher``: the base's last hidden states [n, D], where its distributions are to be retained.
    ``prefix``: what it begins after, where that is not the adapter's own prefix.
    """

    ids: Sequence[int]
    weights: Sequence[float]
    adapter: str | None = None
    key: int = 0
    teacher: Tensor | None = None
    prefix: Prefix | None = None


def pack(
    rows: Sequence[Row],
    *,
    share: int = 0,
    dropout: Mapping[str | None, Dropout] = NO_DROPOUT,
    prefixes: Mapping[str, Prefix] = NO_PREFIXES,
) -> PackedBatch:
    """Put rows end to end, those of one adapter together, after the adapter's prefix or their own.

    Rows of one adapter that begin with the same ``share`` tokens or more compute their longest
    common beginning once (0: never); the result is the same, as the gradients of a shared span
    add up. Where an adapter has ``dropout``, in training, each row has masks of its own and shares
    nothing.
    """
    builder = _Builder()
    for adapter in dict.fromkeys(row.adapter for row in rows):
        mine = [row for row in rows if row.adapter == adapter]
        for prefix in dict.fromkeys(row.prefix for row in mine):
            before = builder.begin(adapter, prefix or prefixes.get(adapter or ""))
            alike = [row for row in mine if row.prefix is prefix]
            for group in _groups(alike, 0 if adapter in dropout else share):
                builder.add(group, _common_length(group) if len(group) > 1 else 0, before=before)
    return builder.batch(dropout)


def _groups(rows: Sequence[Row], share: int) -> Iterator[list[Row]]:
    """Rows with the same first ``share`` tokens together, the others alone."""
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
        self.retained_rows: list[int] = []
        self.teachers: list[Tensor] = []

    def begin(self, adapter: str | None, prefix: Prefix | None) -> tuple[Block, ...]:
        """Put an adapter's prefix into the stream; the blocks that its documents begin with."""
        if prefix is None:
            return ()
        first, virtual = len(self.ids), prefix.vectors
        if virtual is not None:
            self.ids.extend([PLACEHOLDER] * prefix.length)
            self.positions.extend(range(prefix.length))
            document = Document(first, len(self.ids), adapter, shared=True, virtual=virtual)
            self.documents.append(document)
        return (prefix.block(first),)

    def add(self, rows: Sequence[Row], shared: int, *, before: tuple[Block, ...]) -> None:
        """Append rows; their first ``shared`` tokens become one span in front of them."""
        prefix = before
        first = len(self.ids)
        if shared:
            prefix = (*before, Span(first, first + shared))
            self._span(rows[0], rows[0].ids[:shared], before, shared=True)
        for row in rows:
            self._labels(row, shared, first if shared else len(self.ids))
            self._span(row, row.ids[shared:], prefix)

    def _span(
        self, row: Row, ids: Sequence[int], prefix: tuple[Block, ...], *, shared: bool = False
    ) -> None:
        first, stop = len(self.ids), len(self.ids) + len(ids)
        document = Document(first, stop, row.adapter, prefix, row.key, shared=shared)
        self.ids.extend(ids)
        self.positions.extend(range(document.offset, document.offset + len(ids)))
        self.documents.append(document)

    def _labels(self, row: Row, shared: int, shared_start: int) -> None:
        """Row j predicts token j + 1; called before the row's own tokens are appended."""
        own_start = len(self.ids) - shared

        def at(j: int) -> int:
            return (shared_start if j < shared else own_start) + j

        for j, weight in enumerate(row.weights):
            if j and weight:
                self.label_rows.append(at(j - 1))
                self.labels.append(int(row.ids[j]))
                self.weights.append(float(weight))
        if row.teacher is not None:
            self.retained_rows.extend(map(at, range(len(row.ids))))
            self.teachers.append(row.teacher)

    def batch(self, dropout: Mapping[str | None, Dropout]) -> PackedBatch:
        """The finished batch, on the CPU."""
        return PackedBatch(
            ids=torch.tensor(self.ids, dtype=torch.int64),
            positions=torch.tensor(self.positions, dtype=torch.int64),
            documents=tuple(self.documents),
            label_rows=torch.tensor(self.label_rows, dtype=torch.int64),
            labels=torch.tensor(self.labels, dtype=torch.int64),
            weights=torch.tensor(self.weights, dtype=torch.float32),
            dropout=dropout,
            retained_rows=torch.tensor(self.retained_rows, dtype=torch.int64),
            teacher_states=torch.cat(self.teachers) if self.teachers else torch.zeros(0, 0),
        )
