"""Rows that are answered together: their slots, and one token more for each of them."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from tunesmith.engine.forward import Engine
from tunesmith.generation.decoder import Decoder, Prompt, step
from tunesmith.generation.sampling import Penalties, Sampling, choose_each


class Constraint(Protocol):
    """What an answer's next token may be, as a grammar allows.

    ``fault`` says why it can allow nothing any more; None: it can.
    """

    fault: str | None

    def allow(self, scores: Tensor) -> Tensor:
        """Scores [V] of which those that may not follow are -inf."""

    def accept(self, token: int) -> None:
        """This token was chosen."""


class Running:
    """A text that is being answered: its prompt, what was made, and how its tokens are chosen.

    ``token`` is the one that was chosen last and is in no cache yet; None: the text is yet to be
    read, of which ``read`` tokens are in the cache. ``pool`` and ``slot`` are where it is.
    """

    __slots__ = (
        *("constraint", "generator", "made", "penalties", "pool", "prompt", "read", "sampling"),
        *("slot", "token"),
    )

    def __init__(
        self,
        prompt: Prompt,
        sampling: Sampling,
        generator: torch.Generator | None,
        constraint: Constraint | None = None,
        penalties: Penalties | None = None,
    ) -> None:
        self.prompt, self.sampling, self.generator = prompt, sampling, generator
        self.constraint, self.penalties = constraint, penalties
        self.made: list[int] = []
        self.token: int | None = None
        self.read = 0
        self.pool: SlotPool | None = None
        self.slot = 0

    @property
    def text(self) -> tuple[int, ...]:
        """All of its tokens so far."""
        return (*self.prompt.ids, *self.made)


class SlotPool:
    """Slots of one capacity: ``rows[i]`` is in slot i, so that a step reads them in place."""

    def __init__(self, engine: Engine, *, slots: int, capacity: int) -> None:
        self.decoder = Decoder(engine, slots=slots, capacity=capacity)
        self.capacity = capacity
        self.rows: list[Running] = []

    @property
    def slots(self) -> int:
        """How many rows it has room for."""
        return len(self.decoder.lengths)

    def add(self, row: Running) -> None:
        """Give a row the next slot, which must be free."""
        row.pool, row.slot = self, len(self.rows)
        self.decoder.cache.clean_(row.slot)
        self.rows.append(row)

    def remove(self, row: Running) -> None:
        """Free a row's slot; the last row takes its place."""
        last = self.rows.pop()
        if last is not row:
            self.decoder.move(last.slot, row.slot)
            self.rows[row.slot] = last
            last.slot = row.slot
        row.pool = None


def step_rows(engine: Engine, rows: Sequence[Running]) -> Tensor:
    """Append each row's ``token`` to its text, in one call; scores of the next ones [B, V].

    Rows of one adapter should follow each other.
    """
    tokens = []
    for row in rows:
        assert row.pool is not None
        assert row.token is not None
        tokens.append((row.pool.decoder, row.slot, row.token))
    return step(engine, tokens)


def choose_tokens(scores: Tensor, rows: Sequence[Running]) -> list[int]:
    """Each row's next token from scores [B, V], as its own sampling and random numbers have it."""
    changed = [i for i, row in enumerate(rows) if row.constraint or row.penalties]
    if changed:
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32), copy=True)
    for i in changed:
        scores[i] = _own_scores(scores[i], rows[i])
    chosen = [0] * len(rows)
    for numbers in _alike(rows):
        mine = scores if len(numbers) == len(rows) else scores[numbers]
        first = rows[numbers[0]].sampling
        found = choose_each(mine, first, [rows[i].generator for i in numbers])
        for i, token in zip(numbers, found, strict=True):
            chosen[i] = token
    for i in changed:
        if (constraint := rows[i].constraint) is not None:
            constraint.accept(chosen[i])
    return chosen


def _own_scores(scores: Tensor, row: Running) -> Tensor:
    """Scores [V] as a row's penalties and its constraint have them."""
    if row.penalties is not None:
        scores = row.penalties.apply(scores, row.prompt.ids, row.made)
    return scores if row.constraint is None else row.constraint.allow(scores)


def _alike(rows: Sequence[Running]) -> list[list[int]]:
    """Rows whose tokens are chosen by one rule."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(row.sampling.rule, []).append(i)
    return list(groups.values())
