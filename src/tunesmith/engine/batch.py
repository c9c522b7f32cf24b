"""The packed stream: documents end to end without padding, and the stream of the current layer.

The layer wrapper sets the current stream, and whether the layer recomputes activations, from its
own arguments: in forward and again when backward recomputes the layer. So it can never be another
micro-batch's.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine.blocks import Block, Kept, KeyValueCache
from tunesmith.engine.device import send


@dataclass(frozen=True, slots=True)
class Document:
    """Rows start..stop of the stream: one text, its adapter, and the blocks in front of it.

    ``key`` names the row of data for dropout; ``keep`` is the cache slot that takes the
    document's keys and values, its prefix included. The prefix belongs to the same adapter.
    ``shared``: computed for documents after it; ``virtual``: what its rows are instead of ids.
    """

    start: int
    stop: int
    adapter: str | None = None
    prefix: tuple[Block, ...] = ()
    key: int = 0
    keep: tuple[KeyValueCache, int] | None = None
    shared: bool = False
    virtual: nn.Parameter | None = None

    @property
    def offset(self) -> int:
        """Position of the document's first own token."""
        return sum(block.length for block in self.prefix)

    @property
    def continues(self) -> bool:
        """Whether it is kept after what its slot already holds."""
        first = self.prefix[0] if self.prefix else None
        return isinstance(first, Kept) and (first.cache, first.slot) == self.keep

    @property
    def keep_from(self) -> int:
        """The first position that its slot does not hold yet."""
        return self.prefix[0].length if self.continues else 0

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Dropout:
    """What keys an adapter's dropout masks in a step, beside module, document and token."""

    seed: int
    step: int


@dataclass(frozen=True)
class PackedBatch:
    """T tokens of a stream cut into documents, and the M rows that predict supervised tokens.

    At R rows the next token's distribution is to stay the one that a teacher's states give. A row
    may repeat: the last row of a shared span predicts each document's first token.
    """

    ids: Tensor  # [T] int64
    positions: Tensor  # [T] int64: in the document, its prefix counted
    documents: tuple[Document, ...]
    label_rows: Tensor  # [M] int64
    labels: Tensor  # [M] int64
    weights: Tensor  # [M] float32
    dropout: Mapping[str | None, Dropout] = field(default_factory=dict)  # by adapter, in training
    retained_rows: Tensor = field(default_factory=partial(torch.zeros, 0, dtype=torch.int64))  # [R]
    teacher_states: Tensor = field(default_factory=partial(torch.zeros, 0, 0))  # [R, D]
    balance: Mapping[str | None, float] = field(default_factory=dict)  # of a token, by adapter
    plans: dict[object, Any] = field(default_factory=dict, compare=False, repr=False)  # caches
    source: "PackedBatch | None" = field(default=None, compare=False, repr=False)

    @property
    def on_host(self) -> "PackedBatch":
        """The batch on the CPU, whose numbers can be read without waiting for a device."""
        return self if self.source is None else self.source

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
    def adapter_rows(self) -> dict[str, int]:
        """How many rows each adapter has, in the order of their first ones."""
        rows: dict[str, int] = {}
        for adapter, start, stop in self.segments:
            if adapter is not None:
                rows[adapter] = rows.get(adapter, 0) + stop - start
        return rows

    @cached_property
    def label_segments(self) -> tuple[tuple[str | None, int, int], ...]:
        """Runs of label rows with one adapter: (adapter, start, stop)."""
        return self._runs(self.on_host.label_rows)

    @cached_property
    def retained_segments(self) -> tuple[tuple[str | None, int, int], ...]:
        """Runs of retained rows with one adapter: (adapter, start, stop)."""
        return self._runs(self.on_host.retained_rows)

    def _runs(self, rows: Tensor) -> tuple[tuple[str | None, int, int], ...]:
        ends = torch.tensor([stop for _, _, stop in self.segments])
        at = torch.searchsorted(ends, rows, right=True).tolist()
        runs: list[tuple[str | None, int, int]] = []
        for number, segment in enumerate(at):
            adapter = self.segments[segment][0]
            start = runs.pop()[1] if runs and runs[-1][0] == adapter else number
            runs.append((adapter, start, number + 1))
        return tuple(runs)

    def mask(
        self, adapter: str | None, rows: slice, *, module: int, rate: float
    ) -> Callable[[Tensor], Tensor] | None:
        """What makes an adapter's dropout factors [n, D_in] for ``rows``, like an x of them.

        Each document has its own, whatever it is packed with, the same at every call. None where
        nothing is dropped.
        """
        keyed = self.dropout.get(adapter) if rate else None
        if keyed is None:
            return None
        documents = [d for d in self.documents if rows.start <= d.start and d.stop <= rows.stop]

        def factors(like: Tensor) -> Tensor:
            parts = []
            for document in documents:
                key = _seed(keyed.seed, keyed.step, module, document.key, document.offset)
                generator = torch.Generator(like.device).manual_seed(key)
                kept = like.new_empty(len(document), like.shape[1])
                parts.append(kept.bernoulli_(1 - rate, generator=generator))
            return torch.cat(parts).div_(1 - rate)

        return factors

    def to(self, device: torch.device) -> "PackedBatch":
        """The same batch with its tensors on ``device``, in one copy."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        own = {k: v for k, v in values.items() if isinstance(v, Tensor) and v.device != device}
        moved = dict(zip(own, send(list(own.values()), device), strict=True))
        return PackedBatch(**{**values, **moved, "plans": {}, "source": self.on_host})


def _seed(*key: int) -> int:
    data = struct.pack(f"<{len(key)}q", *key)
    return int.from_bytes(hashlib.blake2b(data, digest_size=7).digest(), "little")


_STREAM: ContextVar[PackedBatch | None] = ContextVar("stream", default=None)
_RECOMPUTES: ContextVar[bool] = ContextVar("recomputes_activations", default=False)


def current_stream() -> PackedBatch:
    """The stream of the layer that is being computed; RuntimeError outside a layer."""
    stream = _STREAM.get()
    if stream is None:
        raise RuntimeError("A linear layer of the base was called outside a packed stream.")
    return stream


def recomputes_activations() -> bool:
    """Whether the layer recomputes cheap activations in backward; False outside a layer."""
    return _RECOMPUTES.get()


@contextmanager
def within(stream: PackedBatch, *, recompute: bool = False) -> Iterator[None]:
    """Make ``stream`` the current one while a layer runs."""
    token, little = _STREAM.set(stream), _RECOMPUTES.set(recompute)
    try:
        yield
    finally:
        _STREAM.reset(token)
        _RECOMPUTES.reset(little)
