"""Answers to many prompts at once: prompts are read as packed streams, tokens made together."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.engine.forward import Engine
from tunesmith.engine.memory import available_bytes
from tunesmith.generation.answer_text import Decode
from tunesmith.generation.decoder import SHARE_TOKENS, Decoder, PrefixGroup, Prompt, common_length
from tunesmith.generation.running import Running, SlotPool, choose_tokens, step_rows
from tunesmith.generation.sampling import Sampling, generator_of

SLOTS = 128
READ_TOKENS = 2048  # of prompts at a time
BEGIN_TOKENS = 32  # a common beginning that is read apart from the prompts
MANY_TOKENS = 256  # shorter prompts are all alike in length
REFILL = 4  # prompts are read when one slot in so many is free: reading one by one is slow
CACHE_BYTES = 512 << 20  # of keys and values, or a part of the base where that is more
CACHE_SHARE = 4
FREE_SHARE = 2  # of a device's free memory: prompts are read and rows scored beside it


@dataclass(frozen=True, slots=True)
class GeneratedAnswer:
    """Generated token ids without the stop token, and why it ended: `stop` or `length`."""

    row: int
    ids: tuple[int, ...]
    ended: str


@dataclass(frozen=True, slots=True)
class _Rules:
    """When an answer ends, and how its tokens are chosen."""

    stop_ids: frozenset[int]
    sampling: Sampling
    seed: int
    decode: Decode | None
    check: Callable[[], object]

    def generator(self, prompt: Prompt, row: int) -> torch.Generator | None:
        """A row's random numbers, if it draws any."""
        if self.sampling.is_greedy:
            return None
        return generator_of(self.seed, row if prompt.draw is None else prompt.draw)

    def limit(self, prompt: Prompt) -> int:
        """The longest answer to a prompt."""
        limit = self.sampling.max_new_tokens
        return limit if prompt.limit is None else min(limit, prompt.limit)

    def ended(self, made: list[int], token: int, *, limit: int) -> str | None:
        """Append the token unless it is a stop token; why the answer is complete, if it is."""
        if token in self.stop_ids:
            return "stop"
        made.append(token)
        if self.decode is not None and self.sampling.stop:
            text = self.decode(made)
            if any(stop in text for stop in self.sampling.stop):
                return "stop"
        return "length" if len(made) >= limit else None


def _no_check() -> None:
    """For answers that nobody cancels."""


def generate(  # noqa: PLR0913  # one keyword for each setting
    engine: Engine,
    prompts: Sequence[Prompt],
    *,
    stop_ids: frozenset[int],
    sampling: Sampling,
    seed: int = 0,
    decode: Decode | None = None,
    check: Callable[[], object] = _no_check,
) -> Iterator[GeneratedAnswer]:
    """Answers in the order in which they are finished; ``row`` numbers the prompt.

    As answers end, the next prompts take their places (continuous batching, Yu et al. 2022, Orca).
    What all prompts of an adapter with one opening begin with is read once.

    ``decode`` is needed for stop texts; the ids then end with the token that completed one.
    ``check`` is called between two steps, and may raise Cancelled.
    A row's answer does not depend on which rows are answered beside it, but for the last bits of
    products of another shape.
    """
    if sampling.stop and decode is None:
        raise ValueError("stop texts need `decode`")
    rules = _Rules(stop_ids, sampling, seed, decode, check)
    for rows in like_lengths(engine, prompts):
        yield from _Queue(engine, prompts, rows, rules).answers()


def like_lengths(engine: Engine, prompts: Sequence[Prompt]) -> Iterator[list[int]]:
    """Rows whose prompts are about as long as each other: each slot has room for the longest."""
    rows: list[int] = []
    lengths = [_length(engine, prompt) for prompt in prompts]
    for row in sorted(range(len(prompts)), key=lengths.__getitem__):
        if rows and lengths[row] > max(MANY_TOKENS, 2 * lengths[rows[0]]):
            yield rows
            rows = []
        rows.append(row)
    if rows:
        yield rows


def slots_of(engine: Engine, prompts: Sequence[Prompt], *, capacity: int) -> int:
    """How many of these prompts are answered at once, each with room for ``capacity`` positions."""
    most = cache_room(engine) // engine.cache_bytes(capacity)
    return max(1, min(len(prompts), SLOTS, most))


def cache_room(engine: Engine) -> int:
    """Bytes that keys and values may take, unless a user says otherwise."""
    room: int = max(CACHE_BYTES, engine.model.get_memory_footprint() // CACHE_SHARE)
    if engine.device.type != "cpu" and (free := available_bytes(engine.device)) is not None:
        room = max(room, free // FREE_SHARE)  # of its own memory nothing else has need
    return room


class _Queue:
    """Rows that wait, and those that are answered in the slots of one pool."""

    def __init__(
        self, engine: Engine, prompts: Sequence[Prompt], rows: Sequence[int], rules: _Rules
    ) -> None:
        self.engine, self.rules = engine, rules
        self.numbers = {
            Running(prompts[r], rules.sampling, rules.generator(prompts[r], r)): r for r in rows
        }
        self.ranks = _ranks(prompts[row] for row in rows)
        self.waiting = deque(sorted(self.numbers, key=self._rank))
        capacity = max(_length(engine, prompts[r]) + rules.limit(prompts[r]) for r in rows)
        slots = slots_of(engine, [prompts[r] for r in rows], capacity=capacity)
        self.pool = SlotPool(engine, slots=slots, capacity=capacity)
        self._begin()

    def _rank(self, row: Running) -> int:
        return self.ranks[row.prompt.group]

    def _begin(self) -> None:
        """Read what all prompts of a prefix group begin with, where that is much."""
        for group in self.ranks:
            first, *others = (r.prompt.ids for r in self.waiting if r.prompt.group == group)
            alike = min((common_length(first, ids) for ids in others), default=0)
            alike = min(alike, *(len(ids) - 1 for ids in (first, *others)))
            if alike >= BEGIN_TOKENS:
                self.pool.decoder.begin(first[:alike], group)

    def answers(self) -> Iterator[GeneratedAnswer]:
        """Every row's answer as it ends."""
        while self.waiting or self.pool.rows:
            self.rules.check()
            slots = self.pool.slots
            free = slots - len(self.pool.rows)
            if self.waiting and free >= min(len(self.waiting), -(-slots // REFILL)):
                yield from self._take(self._read(min(free, len(self.waiting))))
            else:
                yield from self._take(self._step())

    def _read(self, count: int) -> list[Running]:
        """Read so many prompts; the rows that have a token more."""
        rows = [self.waiting.popleft() for _ in range(count)]
        for row in rows:
            self.pool.add(row)
        by_slot = {row.slot: row for row in rows}
        new = {slot: row.prompt for slot, row in by_slot.items()}
        for group in _groups(new, self.pool.decoder):
            self.rules.check()
            scores = self.pool.decoder.read({slot: new[slot] for slot in group})
            self._choose([by_slot[slot] for slot in group], scores)
        return rows

    def _step(self) -> list[Running]:
        order = sorted(self.pool.rows, key=self._rank)
        self._choose(order, step_rows(self.engine, order))
        return list(self.pool.rows)

    def _choose(self, rows: Sequence[Running], scores: Tensor) -> None:
        for row, token in zip(rows, choose_tokens(scores, rows), strict=True):
            row.token = token

    def _take(self, rows: Sequence[Running]) -> Iterator[GeneratedAnswer]:
        """Append what was chosen; the last row takes the place of one whose answer ended."""
        for row in reversed(rows):
            assert row.token is not None
            limit = self.rules.limit(row.prompt)
            ended = self.rules.ended(row.made, row.token, limit=limit)
            if ended is not None:
                self.pool.remove(row)
                yield GeneratedAnswer(self.numbers.pop(row), tuple(row.made), ended)


def _ranks(prompts: Iterable[Prompt]) -> dict[PrefixGroup, int]:
    """Each prefix group's place: those of one adapter follow each other."""
    groups = list(dict.fromkeys(prompt.group for prompt in prompts))
    adapters = list(dict.fromkeys(adapter for adapter, _ in groups))
    return {group: i for i, group in enumerate(sorted(groups, key=lambda k: adapters.index(k[0])))}


def _groups(prompts: dict[int, Prompt], decoder: Decoder) -> Iterator[list[int]]:
    """Slots whose prompts are read in one call; a beginning that all of them share counts once."""
    group: list[int] = []
    tokens = shared = 0
    for slot, prompt in prompts.items():
        begun = decoder.begun(prompt.group)
        own = len(prompt.ids) - begun
        alike = min(shared, _alike(prompts[group[0]], prompt) - begun) if group else own
        alike = alike if alike >= SHARE_TOKENS else 0
        last = prompts[group[-1]] if group else prompt
        is_other = last.adapter == prompt.adapter and last.opening != prompt.opening
        if group and (is_other or tokens + own - len(group) * alike > READ_TOKENS):
            yield group
            group, tokens, alike = [], 0, own
        group.append(slot)
        tokens, shared = tokens + own, alike
    yield group


def _alike(a: Prompt, b: Prompt) -> int:
    """Tokens of two prompts that one reading serves."""
    return common_length(a.ids, b.ids) if a.group == b.group else 0


def _length(engine: Engine, prompt: Prompt) -> int:
    """Positions that a prompt takes."""
    return engine.prefix_length(prompt.adapter) + len(prompt.ids)
