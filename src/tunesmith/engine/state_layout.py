"""Where a recurrent state begins in a packed stream: rows and states of each document's past.

Shapes: K taps of a causal convolution; a group has B documents of up to S rows.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.engine.batch import Document, PackedBatch
from tunesmith.engine.blocks import Kept, KeyValueCache, Span
from tunesmith.engine.device import send

FILLED = 0.75  # the shortest document of a group, as a part of the longest: docs/log.md

Index = Tensor | slice
"""Numbers along a first dimension; a slice, which copies nothing, where they follow each other."""


def take(tensor: Tensor, index: Index) -> Tensor:
    """The numbered ones."""
    return tensor[index] if isinstance(index, slice) else tensor.index_select(0, index)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """One after the other along the first dimension."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots of one cache, with their states after ``lengths`` positions."""

    cache: KeyValueCache
    slots: tuple[int, ...]
    lengths: tuple[int, ...]
    at: Index  # the slots [n]

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """What a layer keeps: the convolution's last inputs [n, K - 1, C] and the states [n, ..].

        Raises RuntimeError where a slot holds the state after another length.
        """
        states = self.cache.states[layer]
        for slot, length in zip(self.slots, self.lengths, strict=True):
            states.require(slot, length)
        inputs, state = states.tensors
        return take(inputs, self.at), take(state, self.at)

    def write_(self, layer: int, inputs: Tensor, state: Tensor) -> None:
        """Keep what ``read`` returns."""
        states = self.cache.states[layer]
        for tensor, new in zip(states.tensors, (inputs, state), strict=True):
            tensor[self.at] = new.to(tensor.dtype)
        for slot, length in zip(self.slots, self.lengths, strict=True):
            states.lengths[slot] = length


@dataclass(frozen=True, slots=True)
class Group:
    """B documents that are computed at once."""

    rows: Index  # [n]: of the stream, one document after the other
    places: Tensor | None  # [n]: where they are among B S rows; None where none is padded
    shape: tuple[int, int]  # B, S
    before: Index | None  # [B]: among the known states; None: zeros
    handed_on: bool  # whether a later document, or a later call, needs the states afterwards

    def gather(self, part: Tensor) -> Tensor:
        """[T, ..] -> [B, S, ..], zeros where padded."""
        mine = take(part, self.rows)
        if self.places is not None:
            padded = part.new_zeros(self.shape[0] * self.shape[1], *part.shape[1:])
            mine = padded.index_copy(0, self.places, mine)
        return mine.reshape(*self.shape, *part.shape[1:])

    def flatten(self, padded: Tensor) -> Tensor:
        """[B, S, ..] -> [n, ..]."""
        flat = padded.flatten(0, 1)
        return flat if self.places is None else flat.index_select(0, self.places)


@dataclass(frozen=True, slots=True)
class StateLayout:
    """What every layer with K taps does with a stream.

    Known rows are one of zeros, the K - 1 of each kept state, and the stream's own; known states
    are the kept ones, then those of each group that hands them on.
    """

    kept: tuple[Slots, ...]
    rows: Index  # [T + (K - 1) documents] among the known: each document's, behind K - 1 earlier
    own: Index  # [T]: the stream's among the outputs of the convolution
    groups: tuple[Group, ...]
    order: Index  # [T]: the stream's rows among those of the groups
    # What is kept afterwards: where, with known rows [n, K - 1] and known states [n].
    keeps: tuple[tuple[Slots, Tensor, Index], ...]


def layout_of(stream: PackedBatch, taps: int) -> StateLayout:
    """Made once per stream and number of taps."""
    key = ("state", taps)
    if key not in stream.plans:
        stream.plans[key] = _Planner(stream, taps).layout()
    layout: StateLayout = stream.plans[key]
    return layout


class _Planner:
    """Works out a layout. A span comes before the documents that begin with it."""

    def __init__(self, stream: PackedBatch, taps: int) -> None:
        self.documents, self.device = stream.documents, stream.ids.device
        self.earlier = taps - 1
        self.spans = {(d.start, d.stop): i for i, d in enumerate(self.documents)}
        self.parents = [self._parent(i) for i in range(len(self.documents))]
        self.numbers: dict[tuple[int, int, int], int] = {}  # of kept states
        self.kept = self._kept()

    def layout(self) -> StateLayout:
        """The finished layout."""
        rows, own, tails = self._rows()
        chosen = self._chosen()
        groups, ends = self._groups(chosen)
        made = [row for i in itertools.chain(*chosen) for row in self._own(i)]
        order = self._index(sorted(range(len(made)), key=made.__getitem__))
        keeps = self._keeps(tails, ends)
        return StateLayout(self.kept, self._index(rows), self._index(own), groups, order, keeps)

    def _own(self, i: int) -> range:
        return range(self.documents[i].start, self.documents[i].stop)

    def _index(self, numbers: Sequence[int]) -> Index:
        first, last = numbers[0], numbers[-1] + 1
        if list(numbers) == list(range(first, last)):
            return slice(first, last)
        return self._tensor(numbers)

    def _tensor(self, numbers: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        (sent,) = send([torch.tensor(numbers, dtype=torch.int64)], self.device)
        return sent

    def _parent(self, i: int) -> int | None:
        """The document of this stream whose state this one begins with, if there is one."""
        *before, last = self.documents[i].prefix or (None,)
        if last is None or (isinstance(last, Kept) and not before):
            return None
        at = self.spans.get((last.start, last.stop)) if isinstance(last, Span) else None
        if at is None or at >= i or self.documents[at].prefix != tuple(before):
            raise RuntimeError(
                f"a layer with a recurrent state cannot begin after this {type(last).__name__}: it "
                "begins after whole documents of the stream, or what one slot of a cache keeps"
            )
        return at

    def _kept(self) -> tuple[Slots, ...]:
        """The slots that documents begin with, by cache; ``numbers`` follow their order."""
        blocks = [b for d in self.documents for b in d.prefix[:1] if isinstance(b, Kept)]
        caches = {id(block.cache): block.cache for block in blocks}
        made = []
        for name, cache in caches.items():
            pairs = list(dict.fromkeys((b.slot, b.length) for b in blocks if b.cache is cache))
            for pair in pairs:
                self.numbers[name, *pair] = len(self.numbers)
            made.append(self._slots(cache, pairs))
        return tuple(made)

    def _slots(self, cache: KeyValueCache, pairs: Sequence[tuple[int, int]]) -> Slots:
        slots, lengths = zip(*pairs, strict=True)
        return Slots(cache, slots, lengths, self._index(slots))

    def _number(self, document: Document) -> int | None:
        """The number of the kept state that a document begins with; None: zeros."""
        if not document.prefix:
            return None
        block = document.prefix[0]
        assert isinstance(block, Kept)
        return self.numbers[id(block.cache), block.slot, block.length]

    def _rows(self) -> tuple[list[int], list[int], list[list[int]]]:
        """Known rows of each document with those before it, its own outputs, and its last rows."""
        first = 1 + self.earlier * len(self.numbers)
        rows: list[int] = []
        own: list[int] = []
        tails: list[list[int]] = []
        for document, parent in zip(self.documents, self.parents, strict=True):
            if parent is not None:
                before = tails[parent]
            elif (number := self._number(document)) is not None:
                before = [1 + self.earlier * number + j for j in range(self.earlier)]
            else:
                before = [0] * self.earlier
            own.extend(range(len(rows), len(rows) + len(document)))
            chain = [*before, *range(first + document.start, first + document.stop)]
            rows.extend(chain)
            tails.append(chain[-self.earlier :])
        return rows, own, tails

    def _chosen(self) -> list[list[int]]:
        """The documents of each group, a document after the spans that it begins with."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(0 if parent is None else depths[parent] + 1)
        zeros = [
            p is None and not d.prefix for p, d in zip(self.parents, self.documents, strict=True)
        ]
        lengths = [len(document) for document in self.documents]
        order = sorted(range(len(lengths)), key=lambda i: (depths[i], zeros[i], -lengths[i]))
        chosen: list[list[int]] = []
        for i in order:
            first = chosen[-1][0] if chosen else i
            alike = (depths[first], zeros[first]) == (depths[i], zeros[i])
            if chosen and alike and lengths[i] >= FILLED * lengths[first]:
                chosen[-1].append(i)
            else:
                chosen.append([i])
        return chosen

    def _groups(self, chosen: list[list[int]]) -> tuple[tuple[Group, ...], dict[int, int]]:
        """The groups, and by document the number of the state after it, where known."""
        needed = {p for p in self.parents if p is not None}
        needed |= {i for i, document in enumerate(self.documents) if document.keep is not None}
        ends: dict[int, int] = {}
        known = len(self.numbers)
        groups = []
        for members in chosen:
            handed_on = not needed.isdisjoint(members)
            groups.append(self._group(members, ends, handed_on=handed_on))
            if handed_on:
                ends |= {i: known + number for number, i in enumerate(members)}
                known += len(members)
        return tuple(groups), ends

    def _group(self, members: list[int], ends: dict[int, int], *, handed_on: bool) -> Group:
        documents = [self.documents[i] for i in members]
        longest = len(documents[0])
        rows = [row for i in members for row in self._own(i)]
        places = [b * longest + s for b, d in enumerate(documents) for s in range(len(d))]
        before = []
        for i, document in zip(members, documents, strict=True):
            parent = self.parents[i]
            before.append(self._number(document) if parent is None else ends[parent])
        return Group(
            rows=self._index(rows),
            places=None if len(places) == longest * len(members) else self._tensor(places),
            shape=(len(members), longest),
            before=None if None in before else self._index([b for b in before if b is not None]),
            handed_on=handed_on,
        )

    def _keeps(
        self, tails: list[list[int]], ends: dict[int, int]
    ) -> tuple[tuple[Slots, Tensor, Index], ...]:
        """Where states are kept afterwards, by cache."""
        found: dict[int, tuple[KeyValueCache, list[int]]] = {}
        for i, document in enumerate(self.documents):
            if document.keep is not None:
                cache = document.keep[0]
                found.setdefault(id(cache), (cache, []))[1].append(i)
        made = []
        for cache, members in found.values():
            pairs = [
                (d.keep[1], d.offset + len(d))
                for i in members
                if (d := self.documents[i]).keep is not None
            ]
            made.append(
                (
                    self._slots(cache, pairs),
                    self._tensor([tails[i] for i in members]),
                    self._index([ends[i] for i in members]),
                )
            )
        return tuple(made)
