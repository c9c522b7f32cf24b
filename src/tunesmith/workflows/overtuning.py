"""Did a run go wrong, and how: its losses, answers, warnings and curves, measured and diagnosed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tunesmith.config.methods import MethodSettings
from tunesmith.data.dataset import Dataset
from tunesmith.evaluate.capacity.findings import Capacity
from tunesmith.evaluate.overtuning.checkpoints import Choice
from tunesmith.evaluate.overtuning.diversity import diversity_of
from tunesmith.evaluate.overtuning.evidence import Curves, Evidence, Rate
from tunesmith.evaluate.overtuning.gap import RowLosses, gap_of
from tunesmith.evaluate.overtuning.labels import labels_of
from tunesmith.evaluate.overtuning.verbatim import verbatim_of
from tunesmith.evaluate.overtuning.warned import warned_of
from tunesmith.methods import table
from tunesmith.train.events import BestCheckpoint
from tunesmith.train.run_folder import RunFolder, read_lines
from tunesmith.workflows.opening import Opened
from tunesmith.workflows.row_losses import losses_of_rows
from tunesmith.workflows.rows import RunRows

MOST_ROWS, MOST_TOKENS = 100, 20_000  # of either side, for each arm: seconds, not minutes

GoOn = Callable[[int, int], bool]  # told how many rows are done, of how many; False stops


@dataclass(frozen=True, slots=True)
class Answered:
    """The tuned arm's greedy answers to held-out questions, and the data's own."""

    answers: Sequence[str]
    references: Sequence[str]


@dataclass(frozen=True, slots=True)
class SideLosses:
    """Mean loss of each sampled row, training and held out (nats per supervised token)."""

    train: list[float]
    held: list[float]


class Losing:
    """A sample of a run's training and held-out rows, and what either arm loses on them."""

    def __init__(self, opened: Opened, rows: RunRows) -> None:
        """Held-out rows may be missing: then there is no gap, and the rest is diagnosed."""
        self.opened, self.rows = opened, rows
        self.train = sample(rows.train)
        self.held = sample(rows.held) if rows.held is not None else None
        self.sides = [self.train, *([self.held] if self.held is not None else [])]
        self._base: SideLosses | None = None
        self.tuned: SideLosses | None = None  # of the arm that was measured last

    def tokens(self, *, tuned: bool) -> int:
        """Tokens of what is still to be measured: the base's part, and a result's if ``tuned``."""
        arms = (self._base is None) + tuned
        return arms * sum(side.tokens for side in self.sides)

    def measure_base(self, *, go_on: GoOn = lambda _done, _total: True) -> bool:
        """Ask the base now, as training will change it; whether it came to the end.

        A base that lacks the new tokens of these rows is not asked.
        """
        tokens = (int(side[i].ids.max()) for side in self.sides for i in range(len(side)))
        if max(tokens, default=0) >= len(self.opened.engine.embedding.weight):
            return True
        self._base = self.measured(None, go_on)
        return self._base is not None

    def evidence(
        self,
        adapter: str | None,
        *,
        course: "Run",
        answered: Answered | None = None,
        capacity: Capacity | None = None,
        go_on: GoOn = lambda _done, _total: True,
    ) -> Evidence | None:
        """All that a diagnosis needs; None where ``go_on`` says no before the end.

        ``adapter`` None is the model as it is now, whose base was measured before, or not at all.
        """
        if adapter is not None and self._base is None and not self.measure_base(go_on=go_on):
            return None
        tuned = self.tuned = self.measured(adapter, go_on)
        if tuned is None:
            return None
        base, seed, own = self._base, course.seed, self.rows.own_answers
        train = RowLosses(tuned.train, base.train if base else None)
        held = RowLosses(tuned.held, base.held if base else None)
        both = min(len(tuned.train), len(tuned.held)) > 1
        there = answered if answered is not None and answered.answers else None
        pair = (there.answers, there.references) if there else ((), ())
        return Evidence(
            curves=course.curves,
            passes=course.tokens / max(1, self.rows.train.tokens),
            rows=len(self.rows.train),
            rate=course.rate,
            gap=gap_of(train, held, seed=seed) if both else None,
            verbatim=verbatim_of(*pair, own, seed=seed) if there else None,
            diversity=diversity_of(*pair, seed=seed) if there else None,
            labels=labels_of(own, self.rows.train.supervised.tolist()) if own else None,
            rank=capacity.use.rank if capacity else None,
            used=capacity.use.effective_share if capacity else None,
            warned=warned_of(
                self.rows.train.notes,
                rows=len(np.unique(self.rows.train.owners)),
                lines=self.train.lines.tolist(),
                losses=tuned.train,
                seed=seed,
            ),
        )

    def measured(
        self, adapter: str | None, go_on: GoOn = lambda _done, _total: True
    ) -> SideLosses | None:
        """One arm's losses; None where ``go_on`` says no before the end."""
        total, before, found = sum(map(len, self.sides)), 0, []
        for side in self.sides:
            goes_on = partial(_within, go_on, before, total)
            losses = losses_of_rows(self.opened, side, adapter=adapter, go_on=goes_on)
            before += len(side)
            if losses is None or (before < total and not go_on(before, total)):
                return None
            found.append(losses)
        return SideLosses(found[0], found[1] if len(found) > 1 else [])


def _within(go_on: GoOn, before: int, total: int, done: int) -> bool:
    """What ``go_on`` says of a part that comes after so many rows."""
    return go_on(before + done, total)


def sample(rows: Dataset) -> Dataset:
    """Evenly spread rows, as many as `MOST_ROWS` and about `MOST_TOKENS` allow, two at least."""
    mean = rows.tokens / max(1, len(rows))
    count = min(len(rows), MOST_ROWS, max(2, int(MOST_TOKENS / max(1.0, mean))))
    return rows.take(np.arange(count) * len(rows) // max(1, count))


@dataclass(frozen=True, slots=True)
class Run:
    """What a run's folder tells of its course."""

    curves: Curves
    tokens: int
    rate: Rate | None
    seed: int
    choice: Choice | None = None  # of the checkpoint that is the result


def read_run(
    folder: RunFolder, method: MethodSettings, *, width: int, seed: int, broken: bool = False
) -> Run:
    """From metrics, events and plan; ``width`` is the base's, ``broken`` that the loss broke it."""
    steps = list(read_lines(folder.metrics))
    losses = [float(str(step["loss"])) for step in steps]
    held = folder.held_out_losses()
    chosen = folder.last(BestCheckpoint)
    broken = broken or not all(map(math.isfinite, losses))
    plan = folder.read_plan()
    usual = table.learning_rate(method.kind, width)
    return Run(
        Curves(losses, sorted(held.items()), broken),
        int(str(steps[-1]["tokens"])) if steps else 0,
        Rate(plan.lr, usual) if plan else None,
        seed,
        Choice.from_json(chosen) if chosen else None,
    )
