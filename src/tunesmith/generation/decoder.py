"""A key/value cache and the two calls that fill it: a prompt, then a token at a time.

In a conversation what was read before stays in the cache.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tunesmith.core.errors import TunesmithError
from tunesmith.core.numbers import pluralize
from tunesmith.engine.batch import Document, PackedBatch
from tunesmith.engine.blocks import Block, Kept, KeyValueCache
from tunesmith.engine.device import send
from tunesmith.engine.forward import Engine
from tunesmith.engine.pack import Row, pack
from tunesmith.generation.sampling import Sampling, choose, generator_of

SHARE_TOKENS = 8
# Templates end a prompt with the opening of an answer, which the next turn may repeat otherwise
# (without an empty thought): a recurrent state is kept this far before the end.
ENDING_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids and the adapter that answers (None: the base).

    ``draw`` keys its random numbers; None: its place among the prompts. Prompts of one adapter with
    the same ``opening`` are those that may begin alike. ``limit`` new tokens are all that it has
    room for; None: as many as the sampling allows.
    """

    ids: tuple[int, ...]
    adapter: str | None = None
    draw: int | None = None
    opening: str = ""
    limit: int | None = None

    @property
    def group(self) -> "PrefixGroup":
        """What it shares with the prompts that begin as it does."""
        return self.adapter, self.opening


PrefixGroup = tuple[str | None, str]  # adapter and opening


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """What prompts begin with, read before: ``tokens`` of them, kept after the adapter's prefix.

    Documents attend to it as they do to a prefix.
    """

    cache: KeyValueCache
    tokens: int
    length: int  # positions: its tokens and the adapter's own prefix
    slot: int = 0
    vectors: None = None

    def block(self, start: int) -> Block:  # noqa: ARG002
        """What the documents after it see."""
        return Kept(self.cache, self.slot, self.length)


class Decoder:
    """Slots of one cache, each with a text that grows; documents of any adapters together."""

    def __init__(self, engine: Engine, *, slots: int, capacity: int) -> None:
        self.engine = engine
        self.cache = engine.cache(slots, capacity)
        self.lengths = [0] * slots
        self.adapters: list[str | None] = [None] * slots
        self.beginnings: dict[PrefixGroup, Beginning] = {}

    def begin(self, ids: Sequence[int], group: PrefixGroup) -> None:
        """Read what every prompt of ``group`` begins with; ``read`` computes only the rest."""
        length = self.engine.prefix_length(group[0]) + len(ids)
        side = Decoder(self.engine, slots=1, capacity=length)
        side.read({0: Prompt(tuple(ids), group[0])})
        self.beginnings[group] = Beginning(side.cache, len(ids), length)

    def move(self, slot: int, to: int, *, other: "Decoder | None" = None) -> None:
        """Put what a slot holds into another one, of this cache or of an ``other`` one."""
        target = other or self
        target.cache.copy_(slot, to, self.lengths[slot], source=self.cache)
        target.lengths[to], target.adapters[to] = self.lengths[slot], self.adapters[slot]

    def resize_(self, slots: int) -> None:
        """Make room for another number of texts; the first ones stay."""
        self.cache.resize_(slots)
        self.lengths = [*self.lengths, *[0] * slots][:slots]
        self.adapters = [*self.adapters, *[None] * slots][:slots]

    def assume(self, length: int) -> None:
        """Take every slot for one that holds ``length`` positions of any text: for timing."""
        self.lengths = [length] * len(self.lengths)
        for states in self.cache.states.values():
            states.lengths = [*self.lengths]

    def begun(self, group: PrefixGroup) -> int:
        """Tokens of each prompt of a prefix group that were read before."""
        return self.beginnings[group].tokens if group in self.beginnings else 0

    def read(self, prompts: Mapping[int, Prompt]) -> Tensor:
        """Read whole prompts into empty slots; scores of their next tokens [B, V]."""
        return read(
            self.engine,
            [
                PromptReading(self, slot, prompt, self.beginnings.get(prompt.group))
                for slot, prompt in prompts.items()
            ],
        )

    def rewind_(self, slot: int, tokens: int) -> int:
        """How many of the first ``tokens`` of a slot's text ``extend`` can keep.

        All of them, but for a base with recurrent states (`KeyValueCache.rewind_`).
        """
        before = self.engine.prefix_length(self.adapters[slot])
        return max(0, self.cache.rewind_(slot, before + tokens) - before)

    @torch.no_grad()
    def extend(self, slot: int, ids: Sequence[int], *, kept: int) -> Tensor:
        """Read ``ids`` after the first ``kept`` tokens of a slot; next scores [1, V]."""
        adapter = self.adapters[slot]
        if not kept:
            return self.read({slot: Prompt(tuple(ids), adapter)})
        start = self.engine.prefix_length(adapter) + kept
        prefix = (Kept(self.cache, slot, start),)
        document = Document(0, len(ids), adapter, prefix=prefix, keep=(self.cache, slot))
        self.lengths[slot] = start + len(ids)
        positions = list(range(start, start + len(ids)))
        batch = _unlabelled(ids, positions, (document,))
        return _scores(self.engine, batch, [len(ids) - 1], [adapter])

    def step(self, tokens: Mapping[int, int]) -> Tensor:
        """Append one token to each of these slots; scores of the next ones [B, V].

        Slots of one adapter should follow each other, else each run of them is its own product.
        """
        return step(self.engine, [(self, slot, token) for slot, token in tokens.items()])


@dataclass(frozen=True, slots=True, eq=False)
class PromptReading:
    """A whole prompt that is to be read into an empty slot, the rest of it where it begins alike.

    ``after`` holds the same tokens as the prompt begins with, of the same adapter.
    """

    decoder: Decoder
    slot: int
    prompt: Prompt
    after: Beginning | None = None


@torch.no_grad()
def read(engine: Engine, readings: Sequence[PromptReading]) -> Tensor:
    """Read prompts into slots of any decoders; scores of their next tokens [B, V].

    Prompts of one adapter that begin alike compute their common beginning once.
    """
    rows = [
        Row(ids, [0.0] * len(ids), adapter=r.prompt.adapter, key=number, prefix=r.after)
        for number, r in enumerate(readings)
        for ids in [r.prompt.ids[r.after.tokens if r.after else 0 :]]
    ]
    batch = pack(rows, share=SHARE_TOKENS, prefixes=engine.prefixes)
    documents = tuple(
        d if d.shared else replace(d, keep=(readings[d.key].decoder.cache, readings[d.key].slot))
        for d in batch.documents
    )
    last = {d.key: d.stop - 1 for d in documents if d.keep is not None}
    for reading in readings:
        decoder, slot, prompt = reading.decoder, reading.slot, reading.prompt
        decoder.cache.unmark(slot)
        decoder.adapters[slot] = prompt.adapter
        decoder.lengths[slot] = engine.prefix_length(prompt.adapter) + len(prompt.ids)
    return _scores(
        engine,
        replace(batch, documents=documents),
        [last[number] for number in range(len(readings))],
        [reading.prompt.adapter for reading in readings],
    )


@torch.no_grad()
def step(engine: Engine, tokens: Sequence[tuple[Decoder, int, int]]) -> Tensor:
    """Append a token to each of these slots of any decoders; scores of the next ones [B, V]."""
    documents, positions = [], []
    for row, (decoder, slot, _) in enumerate(tokens):
        length = decoder.lengths[slot]
        prefix = (Kept(decoder.cache, slot, length),)
        keep = decoder.cache, slot
        documents.append(Document(row, row + 1, decoder.adapters[slot], prefix=prefix, keep=keep))
        positions.append(length)
        decoder.lengths[slot] += 1
    batch = _unlabelled([token for *_, token in tokens], positions, tuple(documents))
    adapters = [document.adapter for document in documents]
    return _scores(engine, batch, list(range(len(tokens))), adapters)


def _scores(
    engine: Engine, batch: PackedBatch, rows: list[int], adapters: Sequence[str | None]
) -> Tensor:
    hidden = engine.hidden_states(batch.to(engine.device))
    (at,) = send([torch.tensor(rows)], hidden.device)
    return engine.scores(hidden.index_select(0, at), adapters)


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens with which both begin."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def _unlabelled(
    ids: Sequence[int], positions: Sequence[int], documents: tuple[Document, ...]
) -> PackedBatch:
    none = torch.zeros(0, dtype=torch.int64)
    return PackedBatch(
        ids=torch.tensor(list(ids), dtype=torch.int64),
        positions=torch.tensor(list(positions), dtype=torch.int64),
        documents=documents,
        label_rows=none,
        labels=none,
        weights=none.float(),
    )


class ChatSession:
    """One adapter's side of a conversation over one base."""

    def __init__(
        self, engine: Engine, *, stop_ids: frozenset[int], adapter: str | None, capacity: int
    ) -> None:
        """``capacity``: positions for the whole conversation, at most the base's context."""
        self._engine = engine
        self._decoder = Decoder(engine, slots=1, capacity=capacity)
        self._decoder.adapters[0] = adapter
        self._stop_ids = stop_ids
        self._capacity = capacity - engine.prefix_length(adapter)  # in tokens of the text
        self._kept: list[int] = []

    def _read(self, ids: Sequence[int]) -> Tensor:
        """Read what differs from what was read before; scores of the next token [1, V]."""
        kept = self._decoder.rewind_(0, common_length(self._kept, ids[:-1]))
        self._kept = self._kept[:kept]
        opening = len(ids) - ENDING_TOKENS
        if self._engine.states and opening > kept:
            self._decoder.extend(0, ids[kept:opening], kept=kept)
            self._decoder.cache.mark(0)
            self._kept, kept = list(ids[:opening]), opening
        scores = self._decoder.extend(0, ids[kept:], kept=kept)
        self._kept = list(ids)
        return scores

    def stream(self, ids: Sequence[int], *, sampling: Sampling, seed: int) -> Iterator[int]:
        """Token ids of the answer to the whole prompt ``ids``, one by one, without the stop token.

        Only what differs from what was read before is computed. Raises TunesmithError where prompt
        and answer would be longer than the capacity.
        """
        if not ids:
            raise ValueError("an empty prompt")
        capacity = self._capacity
        if len(ids) >= capacity:
            raise TunesmithError(
                f"The conversation has {pluralize(len(ids), 'token')}; this model reads "
                f"{capacity:,}.",
                remedy="Start a new conversation (/reset).",
                code="context",
            )
        generator = generator_of(seed, 0)
        scores = self._read(ids)
        for _ in range(sampling.max_new_tokens):
            token = choose(scores[0], sampling, generator)
            if token in self._stop_ids:
                return
            yield token
            if len(self._kept) >= capacity:
                return
            scores = self._decoder.step({0: token})
            self._kept.append(token)
