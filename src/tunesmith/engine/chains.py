"""Chains: what each document of a stream sees, as numbers of rows of one tensor.

The sources [S, G, Dh] are the stream's own rows, then those of learned blocks, then those of kept
ones. A document's chain is the rows of its prefix and its own; N in all.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.engine.batch import Document, PackedBatch
from tunesmith.engine.blocks import Block, Kept, KeyValueCache, Learned, Span
from tunesmith.engine.device import send


@dataclass(frozen=True, slots=True)
class _CachePositions:
    """Positions of slots of one cache: [n] each."""

    cache: KeyValueCache
    slots: Tensor
    positions: Tensor


@dataclass(frozen=True, slots=True)
class Chains:
    """What every layer with the same window does with a stream; made once, on the host."""

    ends: tuple[Tensor, Tensor]  # [documents + 1] int32: of rows, and of chains, with 0 in front
    longest: tuple[int, int]  # document, and chain
    own: int  # T
    rows: Tensor | None  # [N]: where chains are in the sources; None: they are the stream's rows
    learned: tuple[Learned, ...]
    kept: tuple[_CachePositions, ...]  # what is read of caches
    # What they take, and where that is in the sources.
    written: tuple[tuple[_CachePositions, Tensor], ...]

    def sources(self, k: Tensor, v: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of the stream and of blocks in front of documents, [S, G, Dh]."""
        keys, values = [k], [v]
        for block in self.learned:
            for parts, tensor in zip((keys, values), block.tensors(layer, k, v), strict=True):
                parts.append(tensor.transpose(0, 1))
        for at in self.kept:
            keys.append(at.cache.keys[layer][at.slots, :, at.positions])
            values.append(at.cache.values[layer][at.slots, :, at.positions])
        return (k, v) if len(keys) == 1 else (torch.cat(keys), torch.cat(values))

    def runs(self, sources: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Keys and values as the documents see them, [N, G, Dh]."""
        if self.rows is None:
            return sources
        return sources[0].index_select(0, self.rows), sources[1].index_select(0, self.rows)

    def keep(self, sources: tuple[Tensor, Tensor], layer: int) -> None:
        """Write into the documents' slots what these do not hold yet."""
        for at, rows in self.written:
            pair = at.cache.keys[layer], at.cache.values[layer]
            for taken, source in zip(pair, sources, strict=True):
                taken[at.slots, :, at.positions] = source.index_select(0, rows)

    def summed(self, gk: Tensor, gv: Tensor, layer: int) -> tuple[Tensor, ...]:
        """Gradients of the stream's keys and values [T, G, Dh], then of learned blocks' masters.

        From those of the chains [N, G, Dh]. What several documents see is summed in 32 bits.
        """
        if self.rows is None:
            return gk, gv
        stops = list(itertools.accumulate((b.length for b in self.learned), initial=self.own))
        size = stops[-1] + sum(len(at.slots) for at in self.kept)
        wide = torch.promote_types(gk.dtype, torch.float32)
        (own_k, *blocks_k, _), (own_v, *blocks_v, _) = (
            g.new_zeros(size, *g.shape[1:], dtype=wide)
            .index_add_(0, self.rows, g.to(wide))
            .tensor_split(stops)
            for g in (gk, gv)
        )
        masters = [t for b in self.learned for t in (b.keys[layer], b.values[layer])]
        learned = itertools.chain(*zip(blocks_k, blocks_v, strict=True))
        made = [g.transpose(0, 1).to(m.dtype) for g, m in zip(learned, masters, strict=True)]
        return own_k.to(gk.dtype), own_v.to(gv.dtype), *made


def chains_of(stream: PackedBatch, window: int | None, device: torch.device) -> Chains:
    """Made once per stream and window; one for all windows where there are no prefixes."""
    key = ("varlen", window if any(d.prefix for d in stream.documents) else None)
    if key not in stream.plans:
        stream.plans[key] = _ChainBuilder(stream).chains(window, device)
    chains: Chains = stream.plans[key]
    return chains


class _ChainBuilder:
    """Where the sources of a stream lie: its own rows, learned blocks, kept ones by cache."""

    def __init__(self, stream: PackedBatch) -> None:
        self.documents = stream.documents
        self.learned: dict[object, Learned] = {}
        kept: dict[object, Kept] = {}
        for block in (block for document in self.documents for block in document.prefix):
            key = _key(block)
            if isinstance(block, Learned):
                self.learned[key] = block
            elif isinstance(block, Kept) and (key not in kept or kept[key].length < block.length):
                kept[key] = block
        self.kept = dict(sorted(kept.items(), key=lambda pair: id(pair[1].cache)))
        self.starts: dict[object, int] = {}
        size = len(stream.ids)
        sources: dict[object, Block] = {**self.learned, **self.kept}
        for key, source in sources.items():
            self.starts[key] = size
            size += source.length

    def chains(self, window: int | None, device: torch.device) -> Chains:
        """The chains for layers with a window, on the device by one copy."""
        lengths = [len(document) for document in self.documents]
        chains = []
        if any(document.prefix for document in self.documents):
            hidden = [0 if window is None else d.offset - window + 1 for d in self.documents]
            chains = [self._chain(*each) for each in zip(self.documents, hidden, strict=True)]
        seen = [len(chain) for chain in chains] or lengths
        tensors = [_ends(lengths), _ends(seen), *([torch.cat(chains)] if chains else [])]
        reads, writes = list(self._reads()), list(self._writes())
        host = [*tensors, *(t for _, parts in (*reads, *writes) for t in parts)]
        sent = iter(send(host, device))
        return Chains(
            ends=(next(sent), next(sent)),
            longest=(max(lengths), max(seen)),
            own=sum(lengths),
            rows=next(sent) if chains else None,
            learned=tuple(self.learned.values()),
            kept=tuple(_CachePositions(cache, next(sent), next(sent)) for cache, _ in reads),
            written=tuple(
                (_CachePositions(cache, next(sent), next(sent)), next(sent)) for cache, _ in writes
            ),
        )

    def _chain(self, document: Document, first: int) -> Tensor:
        """Where the keys that a document sees from position ``first`` on are in the sources."""
        parts = []
        for block in document.prefix:
            at = block.start if isinstance(block, Span) else self.starts[_key(block)]
            skipped = min(max(first, 0), block.length)
            parts.append(torch.arange(at + skipped, at + block.length))
            first -= block.length
        return torch.cat([*parts, torch.arange(document.start, document.stop)])

    def _reads(self) -> Iterator[tuple[KeyValueCache, list[Tensor]]]:
        """Slots and positions to read, by cache."""
        for _, group in itertools.groupby(self.kept.values(), key=lambda kept: id(kept.cache)):
            blocks = list(group)
            slots = [torch.full((block.length,), block.slot) for block in blocks]
            positions = [torch.arange(block.length) for block in blocks]
            yield blocks[0].cache, [torch.cat(slots), torch.cat(positions)]

    def _writes(self) -> Iterator[tuple[KeyValueCache, list[Tensor]]]:
        """Slots and positions that take what documents keep, and its rows, by cache."""
        caches: dict[int, tuple[KeyValueCache, list[list[Tensor]]]] = {}
        for document in self.documents:
            if document.keep is None:
                continue
            cache, slot = document.keep
            start, stop = document.keep_from, document.offset + len(document)
            cache.require(stop)
            parts = [
                torch.full((stop - start,), slot),
                torch.arange(start, stop),
                self._chain(document, start),
            ]
            caches.setdefault(id(cache), (cache, []))[1].append(parts)
        for cache, found in caches.values():
            yield cache, [torch.cat(each) for each in zip(*found, strict=True)]


def _key(block: Block) -> object:
    """What blocks have in common that are the same rows."""
    return (id(block.cache), block.slot) if isinstance(block, Kept) else id(block)


def _ends(lengths: Sequence[int]) -> Tensor:
    return torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
