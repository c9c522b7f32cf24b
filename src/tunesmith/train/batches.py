"""Which rows make which optimizer step, and how a step is cut into micro-batches.

Everything here is a pure function of lengths, settings and seed, so that a resumed run sees the
same rows in the same micro-batches.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.config.run import DEFAULT_EPOCHS, TrainSettings

DEFAULT_TOKENS_PER_STEP = 4096
StepRows = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much goes into one step: rows, or tokens as nearly as whole rows allow."""

    rows: int | None
    tokens: int

    @classmethod
    def of(cls, settings: TrainSettings) -> "Budget":
        """The budget that the settings ask for."""
        return cls(settings.rows_per_step, settings.tokens_per_step or DEFAULT_TOKENS_PER_STEP)


def steps_of_epoch(
    lengths: Sequence[int], *, budget: Budget, seed: int, epoch: int, copies: Sequence[float] = ()
) -> list[StepRows]:
    """One pass over the rows, in an order drawn for this epoch, cut into steps.

    ``copies``: how often each row stands in the pass; the fraction is drawn anew per epoch.
    """
    rng = np.random.default_rng([seed, epoch])
    order = np.arange(len(lengths))
    if copies:
        times = np.floor(np.asarray(copies) + rng.random(len(lengths))).astype(int)
        order = np.repeat(order, times)
    rng.shuffle(order)
    steps: list[StepRows] = []
    step: list[int] = []
    tokens = 0
    for row in order.tolist():
        full = len(step) >= budget.rows if budget.rows else tokens + lengths[row] > budget.tokens
        if step and full:
            steps.append(tuple(step))
            step, tokens = [], 0
        step.append(row)
        tokens += lengths[row]
    if step:
        steps.append(tuple(step))
    return steps


def total_steps(
    lengths: Sequence[int], settings: TrainSettings, *, copies: Sequence[float] = ()
) -> int:
    """Steps of the whole run where steps or epochs rule it (minutes are turned into steps)."""
    if settings.steps is not None:
        return settings.steps
    epochs = settings.epochs or DEFAULT_EPOCHS
    whole, part = int(epochs), epochs - int(epochs)

    def count(epoch: int) -> int:
        budget = Budget.of(settings)
        return len(
            steps_of_epoch(lengths, budget=budget, seed=settings.seed, epoch=epoch, copies=copies)
        )

    steps = sum(count(epoch) for epoch in range(whole))
    return max(1, steps + (math.ceil(part * count(whole)) if part else 0))


def endless_steps(
    lengths: Sequence[int], settings: TrainSettings, *, copies: Sequence[float] = (), first: int = 0
) -> Iterator[StepRows]:
    """The rows of step ``first`` and of every later one, epoch after epoch."""
    budget, epoch, done = Budget.of(settings), 0, 0
    while True:
        steps = steps_of_epoch(
            lengths, budget=budget, seed=settings.seed, epoch=epoch, copies=copies
        )
        for step in steps:
            if done >= first:
                yield step
            done += 1
        epoch += 1


def micro_batches(
    rows: StepRows, lengths: Sequence[int] | NDArray[np.int64], *, tokens: int
) -> list[StepRows]:
    """A step's rows in as few groups of at most ``tokens`` as a greedy fill finds.

    A row that is longer than ``tokens`` stands alone. Long rows are placed first, each into the
    emptiest group, so that the groups are about equal.
    """
    order = sorted(rows, key=lambda r: (-lengths[r], r))
    count = max(1, math.ceil(sum(lengths[r] for r in rows) / tokens))
    while True:
        groups: list[list[int]] = [[] for _ in range(min(count, len(order)))]
        sizes = [0] * len(groups)
        for row in order:
            i = sizes.index(min(sizes))
            groups[i].append(row)
            sizes[i] += lengths[row]
        fits = all(size <= tokens or len(g) == 1 for size, g in zip(sizes, groups, strict=True))
        if fits or count >= len(order):
            return [tuple(g) for g in groups]
        count += 1
