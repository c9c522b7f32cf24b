"""What was measured of a run from which it is diagnosed: losses, answers, warnings, curves."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config.methods import MethodSettings
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.data.dataset import Dataset, RunRows
from tunesmith.data.faults import Note
from tunesmith.data.quality.copies import CHOICES, ROWS_PER_ANSWER
from tunesmith.data.quality.text import bare, fold
from tunesmith.evaluation.capacity import Capacity
from tunesmith.evaluation.checkpoints import CheckpointChoice
from tunesmith.evaluation.intervals import Interval
from tunesmith.evaluation.likelihoods import losses_of_rows
from tunesmith.evaluation.overfitting_measures import (
    Diversity,
    LossGap,
    RowLosses,
    Verbatim,
    difference_of_means,
    diversity_of,
    gap_of,
    verbatim_of,
)
from tunesmith.methods import table
from tunesmith.runs.folder import RunFolder, read_lines
from tunesmith.training.events import BestCheckpoint

TAIL = 5  # steps whose median is where a curve ends, as the loss of one step is that of few rows


@dataclass(frozen=True, slots=True)
class Curves:
    """Losses in the course of a run: of each step's rows in order, and held-out ones by step.

    ``broken``: the run ended because its loss was no number, or far above that of guessing.
    """

    train: Sequence[float]
    held: Sequence[tuple[int, float]] = ()
    broken: bool = False

    @property
    def first(self) -> float:
        """The loss of the first step, which is the model's before training."""
        return self.train[0] if self.train else math.nan

    @property
    def last(self) -> float:
        """The median of the last steps."""
        return statistics.median(self.train[-TAIL:]) if self.train else math.nan

    @property
    def peak(self) -> float:
        """The highest median of three steps in a row."""
        threes = [
            statistics.median(self.train[i : i + 3]) for i in range(max(1, len(self.train) - 2))
        ]
        return max(threes) if self.train else math.nan

    @property
    def lowest_held(self) -> tuple[int, float] | None:
        """Step and held-out loss where that was lowest; of equals the first."""
        return min(self.held, key=lambda each: (each[1], each[0]), default=None)


@dataclass(frozen=True, slots=True)
class Warned:
    """Rows that a data warning is about: how many of all, their mean loss less that of the other
    training rows (where both were measured), and their share of all that is still lost.
    """

    code: str
    rows: int
    share: float
    above: Interval | None = None
    loss_share: float | None = None
    choices: bool = False  # contradictions: answers are choices, so that two cannot both be right

    def to_json(self) -> dict[str, object]:
        """One warning of the document."""
        return {
            "code": self.code,
            "rows": self.rows,
            "share": self.share,
            "loss_share": self.loss_share,
            "above": None if self.above is None else [self.above.low, self.above.high],
        }


@dataclass(frozen=True, slots=True)
class Labels:
    """The training answers where they are choices among a few: how many of them, and the loss of
    a model that knows how often each is given and does not read the question (nats per
    supervised token).
    """

    classes: int
    blind_loss: float


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate of a run, and the one that `auto` takes for its method."""

    given: float
    usual: float

    @property
    def times(self) -> float:
        """The given one as a multiple of the usual one."""
        return self.given / self.usual


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it. ``passes`` is how often each training row was seen; ``rank`` that of the adapter
    (None: it has none) and ``used`` the share of it that its spectrum uses.
    """

    curves: Curves
    passes: float
    rows: int
    rate: Rate | None = None
    gap: LossGap | None = None
    verbatim: Verbatim | None = None
    diversity: Diversity | None = None
    labels: Labels | None = None
    rank: int | None = None
    used: float | None = None
    warned: Mapping[str, Warned] = field(default_factory=dict)


def labels_of(answers: Sequence[str], tokens: Sequence[int]) -> Labels | None:
    """From training answers and the supervised tokens of each; None where they are no choices:
    fewer than three rows an answer, as where contradictions are looked for, or one answer only.

    The entropy of the answers (nats an answer) over the mean tokens of one.
    """
    counts = Counter(bare(fold(text)) for text in answers)
    rows = counts.total()
    if len(counts) < 2 or ROWS_PER_ANSWER * len(counts) > rows:
        return None
    entropy = -math.fsum(count / rows * math.log(count / rows) for count in counts.values())
    return Labels(len(counts), entropy * len(tokens) / sum(tokens))


CODES = ("contradictions", "duplicates", "near_duplicates", "leakage", "languages", "long_tail")


def warned_of(
    notes: Iterable[Note],
    *,
    rows: int,
    lines: Sequence[int],
    losses: Sequence[float],
    seed: int,
) -> dict[str, Warned]:
    """By code, of the notes that are about single rows of ``rows``.

    ``lines`` and ``losses`` are those of a sample of the training rows. Where a note lists all of
    its rows, those in the sample are set against the others in it.
    """
    found = {}
    for note in notes:
        if note.code in CODES and rows:
            listed = set(note.lines) if len(note.lines) == note.count else set()
            inside = [loss for line, loss in zip(lines, losses, strict=True) if line in listed]
            outside = [loss for line, loss in zip(lines, losses, strict=True) if line not in listed]
            both = len(inside) > 1 and len(outside) > 1
            total = math.fsum(losses)
            found[note.code] = Warned(
                note.code,
                note.count,
                min(1.0, note.count / rows),
                difference_of_means(outside, inside, seed=seed) if both else None,
                math.fsum(inside) / total if inside and total > 0 else None,
                choices=CHOICES in note.message,
            )
    return found


MAX_ROWS, MAX_TOKENS = 100, 20_000  # of either side, for each arm: seconds, not minutes


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


class RowLossSample:
    """A sample of a run's training and held-out rows, and what either arm loses on them."""

    def __init__(self, loaded: LoadedBase, rows: RunRows) -> None:
        """Held-out rows may be missing: then there is no gap, and the rest is diagnosed."""
        self.loaded, self.rows = loaded, rows
        self.train = sample(rows.train)
        self.held = sample(rows.held) if rows.held is not None else None
        self.sides = [self.train, *([self.held] if self.held is not None else [])]
        self._base: SideLosses | None = None
        self.tuned: SideLosses | None = None  # of the arm that was measured last

    def tokens(self, *, tuned: bool) -> int:
        """Tokens of what is still to be measured: the base's part, and a result's if ``tuned``."""
        arms = (self._base is None) + tuned
        return arms * sum(side.tokens for side in self.sides)

    def measure_base(self, *, phase: PhaseProgress = UNSEEN) -> None:
        """Ask the base now, as training will change it.

        A base that lacks the new tokens of these rows is not asked.
        """
        tokens = (int(side[i].ids.max()) for side in self.sides for i in range(len(side)))
        if max(tokens, default=0) < len(self.loaded.engine.embedding.weight):
            self._base = self.measured(None, phase)

    def evidence(
        self,
        adapter: str | None,
        *,
        run: "TrainingCurves",
        answered: Answered | None = None,
        capacity: Capacity | None = None,
        phase: PhaseProgress = UNSEEN,
    ) -> Evidence:
        """All that a diagnosis needs.

        ``adapter`` None is the model as it is now, whose base was measured before, or not at all.
        """
        if adapter is not None and self._base is None:
            self.measure_base(phase=phase)
        tuned = self.tuned = self.measured(adapter, phase)
        base, seed, own = self._base, run.seed, self.rows.own_answers
        train = RowLosses(tuned.train, base.train if base else None)
        held = RowLosses(tuned.held, base.held if base else None)
        both = min(len(tuned.train), len(tuned.held)) > 1
        there = answered if answered is not None and answered.answers else None
        pair = (there.answers, there.references) if there else ((), ())
        return Evidence(
            curves=run.curves,
            passes=run.tokens / max(1, self.rows.train.tokens),
            rows=len(self.rows.train),
            rate=run.rate,
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

    def measured(self, adapter: str | None, phase: PhaseProgress = UNSEEN) -> SideLosses:
        """One arm's losses."""
        phase.at(0, sum(map(len, self.sides)))
        train, *held = (
            losses_of_rows(self.loaded, side, adapter=adapter, phase=phase) for side in self.sides
        )
        return SideLosses(train, held[0] if held else [])


def sample(rows: Dataset) -> Dataset:
    """Evenly spread rows, as many as `MOST_ROWS` and about `MOST_TOKENS` allow, two at least."""
    mean = rows.tokens / max(1, len(rows))
    count = min(len(rows), MAX_ROWS, max(2, int(MAX_TOKENS / max(1.0, mean))))
    return rows.take(np.arange(count) * len(rows) // max(1, count))


@dataclass(frozen=True, slots=True)
class TrainingCurves:
    """What a run's folder tells of its run."""

    curves: Curves
    tokens: int
    rate: Rate | None
    seed: int
    choice: CheckpointChoice | None = None  # of the checkpoint that is the result


def read_run(
    folder: RunFolder, method: MethodSettings, *, width: int, seed: int, broken: bool = False
) -> TrainingCurves:
    """From metrics, events and plan; ``width`` is the base's, ``broken`` that the loss broke it."""
    steps = list(read_lines(folder.metrics))
    losses = [float(str(step["loss"])) for step in steps]
    held = folder.held_out_losses()
    chosen = folder.last(BestCheckpoint)
    broken = broken or not all(map(math.isfinite, losses))
    plan = folder.read_plan()
    usual = table.learning_rate(method.kind, width)
    return TrainingCurves(
        Curves(losses, sorted(held.items()), broken),
        int(str(steps[-1]["tokens"])) if steps else 0,
        Rate(plan.lr, usual) if plan else None,
        seed,
        CheckpointChoice.from_json(chosen) if chosen else None,
    )
