"""Which rows make which optimizer step, in which micro-batches, and at which learning rate?

Everything here is a pure function of lengths, settings and seed, so that a resumed run sees the
same rows in the same micro-batches.
"""

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunesmith.config.run import AUTO, Recompute, TrainSettings

# What null means, as runs of earlier versions wrote it.
EARLIER_EPOCHS, EARLIER_TOKENS_PER_STEP = 3.0, 4096
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
    ranks: int = 1  # among which the micro-batches of a step are divided evenly

    def rate(self, step: int, schedule: str) -> float:
        """The learning rate of step ``step``, counted from 0."""
        share = factor(step, steps=self.steps, warmup=self.warmup, schedule=schedule)
        return self.lr * share


def steps_of_epoch(
    lengths: Lengths, settings: TrainSettings, *, epoch: int, copies: Copies = ()
) -> Iterator[StepRows]:
    """One pass over the rows, in an order drawn for this epoch, cut into steps.

    A step has the settings' rows, or as nearly their tokens as whole rows allow. ``copies``: how
    often each row is in the pass; the fraction is drawn anew per epoch.
    """
    order, ends = _cuts(lengths, settings, epoch=epoch, copies=copies)
    for start, end in itertools.pairwise([0, *ends]):
        yield tuple(order[start:end].tolist())


def _cuts(
    lengths: Lengths, settings: TrainSettings, *, epoch: int, copies: Copies
) -> tuple[NDArray[np.int64], list[int]]:
    """The order of the rows in a pass, and where each of its steps ends."""
    rng = np.random.default_rng([settings.seed, epoch])
    order = np.arange(len(lengths))
    if len(copies):
        times = np.floor(np.asarray(copies) + rng.random(len(lengths))).astype(int)
        order = np.repeat(order, times)
    rng.shuffle(order)
    count = len(order)
    if rows := settings.rows_per_step:
        return order, [*range(rows, count, rows), *([count] if count else [])]
    budget = tokens_per_step(settings)
    tokens = np.cumsum(np.asarray(lengths)[order])
    ends: list[int] = []
    end = done = 0
    while end < count:
        fitting = int(np.searchsorted(tokens, done + budget, side="right"))
        end = max(fitting, end + 1)
        done = int(tokens[end - 1])
        ends.append(end)
    return order, ends


def tokens_per_step(settings: TrainSettings) -> int:
    """Tokens of a step, where rows do not rule it."""
    assert settings.tokens_per_step != AUTO, "chosen before: training/length.py"
    return settings.tokens_per_step or EARLIER_TOKENS_PER_STEP


def mean_tokens_of_step(lengths: Lengths, settings: TrainSettings, *, copies: Copies = ()) -> float:
    """Tokens of a step in the first pass; those of `tokens_per_step` are an upper limit."""
    order, ends = _cuts(lengths, settings, epoch=0, copies=copies)
    return float(np.asarray(lengths)[order].sum()) / max(1, len(ends))


def total_steps(lengths: Lengths, settings: TrainSettings, *, copies: Copies = ()) -> int:
    """Steps of the whole run where steps or epochs rule it (minutes are turned into steps)."""
    if settings.steps is not None:
        return settings.steps
    assert settings.epochs != AUTO, "chosen before: training/length.py"
    epochs = settings.epochs or EARLIER_EPOCHS
    whole, part = int(epochs), epochs - int(epochs)

    def count(epoch: int) -> int:
        return len(_cuts(lengths, settings, epoch=epoch, copies=copies)[1])

    steps = sum(count(epoch) for epoch in range(whole))
    return max(1, steps + (math.ceil(part * count(whole)) if part else 0))


def endless_steps(
    lengths: Lengths, settings: TrainSettings, *, copies: Copies = (), first: int = 0
) -> Iterator[StepRows]:
    """The rows of step ``first`` and of every later one, epoch after epoch."""
    epochs = (steps_of_epoch(lengths, settings, epoch=e, copies=copies) for e in itertools.count())
    return itertools.islice(itertools.chain.from_iterable(epochs), first, None)


def micro_batches(
    rows: StepRows, lengths: Lengths | Mapping[int, int], *, tokens: int, ranks: int = 1
) -> list[StepRows]:
    """A step's rows in as few groups of at most ``tokens`` as a greedy fill finds.

    Their number is a multiple of ``ranks`` where there are rows enough.
    A row that is longer than ``tokens`` is a group of its own. Long rows are placed first, each
    into the emptiest group, so that the groups are about equal.
    """
    order = sorted(rows, key=lambda r: (-lengths[r], r))
    least = math.ceil(sum(lengths[r] for r in rows) / tokens)
    count = ranks * max(1, math.ceil(least / ranks))
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
        count += ranks


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
