"""Which rows make which optimizer step, in which micro-batches, and at which learning rate?

Everything here is a pure function of lengths, settings and seed, so that a resumed run sees the
same rows in the same micro-batches.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tunesmith.config.run import DEFAULT_EPOCHS, Recompute, TrainSettings

DEFAULT_TOKENS_PER_STEP = 4096
StepRows = tuple[int, ...]
Lengths = Sequence[int] | NDArray[np.int64]
Copies = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Plan:
    """What was decided before the first step; a resumed run keeps it."""

    steps: int
    warmup: int
    lr: float
    tokens_per_micro_batch: int
    recompute: Recompute
    peak_bytes: int
    seconds_per_token: float

    def to_json(self) -> dict[str, object]:
        """For plan.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, object]) -> "Plan":
        """From plan.json."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})  # type: ignore[arg-type]


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
    lengths: Lengths, *, budget: Budget, seed: int, epoch: int, copies: Copies = ()
) -> Iterator[StepRows]:
    """One pass over the rows, in an order drawn for this epoch, cut into steps.

    ``copies``: how often each row stands in the pass; the fraction is drawn anew per epoch.
    """
    order, ends = _cuts(lengths, budget=budget, seed=seed, epoch=epoch, copies=copies)
    start = 0
    for end in ends:
        yield tuple(order[start:end].tolist())
        start = end


def _cuts(
    lengths: Lengths, *, budget: Budget, seed: int, epoch: int, copies: Copies
) -> tuple[NDArray[np.int64], list[int]]:
    """The order of the rows in a pass, and where each of its steps ends."""
    rng = np.random.default_rng([seed, epoch])
    order = np.arange(len(lengths))
    if len(copies):
        times = np.floor(np.asarray(copies) + rng.random(len(lengths))).astype(int)
        order = np.repeat(order, times)
    rng.shuffle(order)
    count = len(order)
    if budget.rows:
        return order, [*range(budget.rows, count, budget.rows), *([count] if count else [])]
    tokens = np.cumsum(np.asarray(lengths)[order])
    ends: list[int] = []
    end = done = 0
    while end < count:
        fitting = int(np.searchsorted(tokens, done + budget.tokens, side="right"))
        end = max(fitting, end + 1)
        done = int(tokens[end - 1])
        ends.append(end)
    return order, ends


def total_steps(lengths: Lengths, settings: TrainSettings, *, copies: Copies = ()) -> int:
    """Steps of the whole run where steps or epochs rule it (minutes are turned into steps)."""
    if settings.steps is not None:
        return settings.steps
    epochs = settings.epochs or DEFAULT_EPOCHS
    whole, part = int(epochs), epochs - int(epochs)

    def count(epoch: int) -> int:
        budget = Budget.of(settings)
        _, ends = _cuts(lengths, budget=budget, seed=settings.seed, epoch=epoch, copies=copies)
        return len(ends)

    steps = sum(count(epoch) for epoch in range(whole))
    return max(1, steps + (math.ceil(part * count(whole)) if part else 0))


def endless_steps(
    lengths: Lengths, settings: TrainSettings, *, copies: Copies = (), first: int = 0
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


def micro_batches(rows: StepRows, lengths: Lengths, *, tokens: int) -> list[StepRows]:
    """A step's rows in as few groups of at most ``tokens`` as a greedy fill finds.

    A row that is longer than ``tokens`` stands alone. Long rows are placed first, each into the
    emptiest group, so that the groups are about equal.
    """
    order = sorted(rows, key=lambda r: (-lengths[r], r))
    count = max(1, math.ceil(sum(lengths[r] for r in rows) / tokens))
    while True:
        groups: list[list[int]] = [[] for _ in range(min(count, len(order)))]
        emptiest = [(0, i) for i in range(len(groups))]  # a heap
        for row in order:
            size, i = emptiest[0]
            groups[i].append(row)
            heapq.heapreplace(emptiest, (size + int(lengths[row]), i))
        fits = all(size <= tokens or len(groups[i]) == 1 for size, i in emptiest)
        if fits or count >= len(order):
            return [tuple(g) for g in groups]
        count += 1


WARMUP_SHARE = 0.03


def warmup_of(settings: TrainSettings, steps: int) -> int:
    """Warm-up steps; `auto` is a small share of the run."""
    if settings.warmup_steps == "auto":
        return math.ceil(WARMUP_SHARE * steps)
    return settings.warmup_steps


def factor(step: int, *, steps: int, warmup: int, schedule: str) -> float:
    """Share of the peak rate in step ``step`` (counted from 0) of ``steps``.

    The first step of a warm-up is 1 / warmup of the peak; cosine and linear would reach zero one
    step after the last.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return {
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": 1 - progress,
        "constant": 1.0,
    }[schedule]
