"""A recurrent state over a packed stream: which state each document begins with.

That is the one after its prefix: after the shared span before it, or kept from an earlier call; of
a document without a prefix it is zeros. Documents with as many spans before them and of about the
same length are computed at once, padded to the longest.

Shapes: K taps of a causal convolution over C channels; a group has B documents of up to S rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.activations import ACT2FN

from tunesmith.engine.autograd import Context, Gradients, apply
from tunesmith.engine.batch import Document, PackedBatch, current_stream, recomputes_activations
from tunesmith.engine.blocks import Kept, KeyValueCache, Span

FILLED = 0.75  # the shortest document of a group, as a part of the longest
Parts = Sequence[Tensor]
Scan = Callable[[Parts, Tensor | None, bool], tuple[Tensor, Tensor | None]]
"""Parts [B, S, ..], states [B, ..] (None: zeros) and whether the states afterwards are needed, to
outputs [B, S, ..] and those states. Rows of zeros at the end must leave a state as it is."""


def over_documents(module: Any, mixed: Tensor, others: Parts, scan: Scan) -> Tensor:
    """The outputs [T, ..] of a layer with a state: its convolution, then ``scan`` by groups.

    ``mixed`` [T, C] is what the convolution reads; what it makes of it, and ``others`` [T, ..], are
    the parts. Raises RuntimeError for a prefix whose state is not known.
    """
    layer, weight = int(module.layer_idx), module.conv1d.weight
    layout = _layout(current_stream(), weight.shape[-1])
    kept = [slots.read(layer) for slots in layout.kept]
    earlier = [inputs.flatten(0, 1) for inputs, _ in kept]
    rows = torch.cat([mixed.new_zeros(1, mixed.shape[1]), *earlier, mixed])
    outputs = apply(_Convolution, rows.index_select(0, layout.rows), weight, module.conv1d.bias)
    parts = (ACT2FN[module.activation](outputs.index_select(0, layout.own)), *others)
    states, made = [state for _, state in kept], []
    for group in layout.groups:
        before = None if group.before is None else torch.cat(states).index_select(0, group.before)
        y, after = _run(scan, tuple(map(group.gather, parts)), before, group.handed_on)
        made.append(group.flatten(y))
        if after is not None:
            states.append(after)
    for slots, tails, ends in layout.keeps:
        slots.write_(layer, rows.detach()[tails], torch.cat(states).detach()[ends])
    return torch.cat(made).index_select(0, layout.order)


def _run(
    scan: Scan, parts: Parts, before: Tensor | None, handed_on: bool
) -> tuple[Tensor, Tensor | None]:
    """A scan, whose inner products are recomputed in backward with `activations`."""
    if not recomputes_activations():
        return scan(parts, before, handed_on)
    made: tuple[Tensor, Tensor | None] = checkpoint(
        scan, parts, before, handed_on, use_reentrant=False, preserve_rng_state=False
    )
    return made


class _Convolution(torch.autograd.Function):
    """y[t] = bias + sum of w[:, j] x[t + j] over j, by channel: [n + K - 1, C] -> [n, C]."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        wide, taps = _wide(x), _taps(weight)
        n = len(x) - len(taps) + 1
        y = wide[:n] * taps[0]
        for j, tap in enumerate(taps[1:], start=1):
            y.addcmul_(wide[j : j + n], tap)
        return (y if bias is None else y.add_(bias)).to(x.dtype)

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        x, weight, bias = ctx.saved_tensors
        wide, n = _wide(g), len(g)
        gx = wide.new_zeros(x.shape)
        for j, tap in enumerate(_taps(weight)):
            gx[j : j + n].addcmul_(wide, tap)
        gw = gb = None
        if ctx.needs_input_grad[1]:
            sums = [(wide * x[j : j + n]).sum(0) for j in range(weight.shape[-1])]
            gw = torch.stack(sums, -1).view_as(weight).to(weight.dtype)
        if bias is not None and ctx.needs_input_grad[2]:
            gb = wide.sum(0).to(bias.dtype)
        return gx.to(x.dtype), gw, gb


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _taps(weight: Tensor) -> Tensor:
    """A weight [C, 1, K] as [K, C]."""
    return _wide(weight)[:, 0].t().contiguous()


@dataclass(frozen=True, slots=True)
class _Slots:
    """Slots of one cache, with their states after ``lengths`` positions."""

    cache: KeyValueCache
    slots: tuple[int, ...]
    lengths: tuple[int, ...]
    at: Tensor  # the slots [n]

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """What a layer keeps: the convolution's last inputs [n, K - 1, C] and the states [n, ..].

        Raises RuntimeError where a slot holds the state after another length.
        """
        states = self.cache.states[layer]
        for slot, length in zip(self.slots, self.lengths, strict=True):
            states.require(slot, length)
        inputs, state = states.tensors
        return inputs.index_select(0, self.at), state.index_select(0, self.at)

    def write_(self, layer: int, inputs: Tensor, state: Tensor) -> None:
        """Keep what ``read`` returns."""
        states = self.cache.states[layer]
        for tensor, new in zip(states.tensors, (inputs, state), strict=True):
            tensor[self.at] = new.to(tensor.dtype)
        for slot, length in zip(self.slots, self.lengths, strict=True):
            states.lengths[slot] = length


@dataclass(frozen=True, slots=True)
class _Group:
    """B documents that are computed at once."""

    rows: Tensor  # [n]: of the stream, one document after the other
    places: Tensor | None  # [n]: where they are among B S rows; None where none is padded
    shape: tuple[int, int]  # B, S
    before: Tensor | None  # [B]: among the known states; None: zeros
    handed_on: bool  # whether a later document, or a later call, needs the states afterwards

    def gather(self, part: Tensor) -> Tensor:
        """[T, ..] -> [B, S, ..], zeros where padded."""
        mine = part.index_select(0, self.rows)
        if self.places is not None:
            padded = part.new_zeros(self.shape[0] * self.shape[1], *part.shape[1:])
            mine = padded.index_copy(0, self.places, mine)
        return mine.unflatten(0, self.shape)

    def flatten(self, padded: Tensor) -> Tensor:
        """[B, S, ..] -> [n, ..]."""
        flat = padded.flatten(0, 1)
        return flat if self.places is None else flat.index_select(0, self.places)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What every layer with K taps does with a stream.

    Known rows are one of zeros, the K - 1 of each kept state, and the stream's own; known states
    are the kept ones, then those of each group that hands them on.
    """

    kept: tuple[_Slots, ...]
    rows: Tensor  # [T + (K - 1) documents] among the known: each document's, behind K - 1 earlier
    own: Tensor  # [T]: the stream's among the outputs of the convolution
    groups: tuple[_Group, ...]
    order: Tensor  # [T]: the stream's rows among those of the groups
    # What is kept afterwards: where, with known rows [n, K - 1] and known states [n].
    keeps: tuple[tuple[_Slots, Tensor, Tensor], ...]


def _layout(stream: PackedBatch, taps: int) -> _Layout:
    """Made once per stream and number of taps."""
    key = ("state", taps)
    if key not in stream.plans:
        stream.plans[key] = _Planner(stream, taps).layout()
    layout: _Layout = stream.plans[key]
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

    def layout(self) -> _Layout:
        """The finished layout."""
        rows, own, tails = self._rows()
        groups, ends = self._groups()
        order = torch.cat([group.rows for group in groups]).argsort()
        keeps = self._keeps(tails, ends)
        return _Layout(self.kept, self._index(rows), self._index(own), groups, order, keeps)

    def _index(self, numbers: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64, device=self.device)

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

    def _kept(self) -> tuple[_Slots, ...]:
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

    def _slots(self, cache: KeyValueCache, pairs: Sequence[tuple[int, int]]) -> _Slots:
        slots, lengths = zip(*pairs, strict=True)
        return _Slots(cache, slots, lengths, self._index(slots))

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

    def _groups(self) -> tuple[tuple[_Group, ...], dict[int, int]]:
        """The groups in order, and by document the number of the state after it, where known."""
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

    def _group(self, members: list[int], ends: dict[int, int], *, handed_on: bool) -> _Group:
        documents = [self.documents[i] for i in members]
        longest = len(documents[0])
        rows = [row for d in documents for row in range(d.start, d.stop)]
        places = [b * longest + s for b, d in enumerate(documents) for s in range(len(d))]
        before = []
        for i, document in zip(members, documents, strict=True):
            parent = self.parents[i]
            before.append(self._number(document) if parent is None else ends[parent])
        return _Group(
            rows=self._index(rows),
            places=None if len(places) == longest * len(members) else self._index(places),
            shape=(len(members), longest),
            before=None if None in before else self._index([b for b in before if b is not None]),
            handed_on=handed_on,
        )

    def _keeps(
        self, tails: list[list[int]], ends: dict[int, int]
    ) -> tuple[tuple[_Slots, Tensor, Tensor], ...]:
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
                    self._index([tails[i] for i in members]),
                    self._index([ends[i] for i in members]),
                )
            )
        return tuple(made)
