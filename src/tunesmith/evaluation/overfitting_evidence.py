"""What was measured of a run from which it is diagnosed: losses, answers, warnings, curves."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.core.progress import UNSEEN, PhaseProgress
from tunesmith.data.dataset import Dataset, RunRows
from tunesmith.data.faults import Note
from tunesmith.data.quality.copies import CHOICES, ROWS_PER_ANSWER
from tunesmith.data.quality.text import bare, fold
from tunesmith.evaluation.answering import Respondent, fingerprint
from tunesmith.evaluation.capacity import Capacity
from tunesmith.evaluation.checkpoints import CheckpointChoice
from tunesmith.evaluation.forgetting import AdapterScale
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
from tunesmith.evaluation.score_cache import NOTHING_KEPT, open_scores

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
        if not self.train:
            return math.nan
        starts = range(max(1, len(self.train) - 2))
        return max(statistics.median(self.train[i : i + 3]) for i in starts)

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
    notes: Iterable[Note], *, rows: int, lines: Sequence[int], losses: Sequence[float], seed: int
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


@dataclass(frozen=True, slots=True)
class ArmLosses:
    """What the tuned model loses on the sampled rows, and the base (None: it was not measured)."""

    tuned: SideLosses
    base: SideLosses | None = None


@dataclass(frozen=True, slots=True)
class RowSample:
    """A sample of a run's training rows, and of its held-out ones where it has any: without them
    there is no gap, and the rest is diagnosed.
    """

    train: Dataset
    held: Dataset | None

    @property
    def sides(self) -> list[Dataset]:
        """Those that are there."""
        return [self.train, *([self.held] if self.held is not None else [])]

    @property
    def tokens(self) -> int:
        """Tokens that measuring one arm computes."""
        return sum(side.tokens for side in self.sides)

    def losses(
        self, loaded: LoadedBase, who: Respondent, *, phase: PhaseProgress = UNSEEN
    ) -> SideLosses:
        """One arm's losses; ``who`` without an adapter is the model as it is now."""
        phase.at(0, sum(map(len, self.sides)))
        kept = NOTHING_KEPT if who.fingerprint is None else open_scores(who.fingerprint)
        train, *held = (
            losses_of_rows(loaded, side, adapter=who.adapter, phase=phase, kept=kept)
            for side in self.sides
        )
        return SideLosses(train, held[0] if held else [])

    def base_losses(
        self, loaded: LoadedBase, *, phase: PhaseProgress = UNSEEN
    ) -> SideLosses | None:
        """Those of the base; None where it lacks the new tokens of these rows."""
        tokens = (int(side[i].ids.max()) for side in self.sides for i in range(len(side)))
        if max(tokens, default=0) >= len(loaded.engine.embedding.weight):
            return None
        who = Respondent(None, fingerprint(loaded.base))
        return self.losses(loaded, who, phase=phase)


def sample_rows(rows: RunRows, limit: int = MAX_ROWS) -> RowSample:
    """Of both sides of a run's rows, ``limit`` of each at most."""
    held = sample(rows.held, limit) if rows.held is not None else None
    return RowSample(sample(rows.train, limit), held)


def sample(rows: Dataset, limit: int = MAX_ROWS) -> Dataset:
    """Evenly spread rows, as many as ``limit``, `MAX_ROWS` and about `MAX_TOKENS` allow, two at
    least.
    """
    mean = rows.tokens / max(1, len(rows))
    most = max(2, min(limit, MAX_ROWS))
    count = min(len(rows), most, max(2, int(MAX_TOKENS / max(1.0, mean))))
    return rows.take(np.arange(count) * len(rows) // max(1, count))


@dataclass(frozen=True, slots=True)
class TrainingHistory:
    """What a run recorded of its training; ``choice`` is of the checkpoint that is the result, and
    ``scale`` the scale of the adapter, where another one than 1 was tried.
    """

    curves: Curves
    tokens: int
    rate: Rate | None = None
    choice: CheckpointChoice | None = None
    scale: AdapterScale | None = None


def evidence_of(
    rows: RunRows,
    history: TrainingHistory,
    losses: ArmLosses,
    *,
    answered: Answered | None = None,
    capacity: Capacity | None = None,
    seed: int,
) -> Evidence:
    """All that a diagnosis needs; ``losses`` are of the rows of `sample_rows`."""
    tuned, base, own = losses.tuned, losses.base, rows.own_answers
    train = RowLosses(tuned.train, base.train if base else None)
    held = RowLosses(tuned.held, base.held if base else None)
    both = min(len(tuned.train), len(tuned.held)) > 1
    there = answered if answered is not None and answered.answers else None
    pair = (there.answers, there.references) if there else ((), ())
    return Evidence(
        curves=history.curves,
        passes=history.tokens / max(1, rows.train.tokens),
        rows=len(rows.train),
        rate=history.rate,
        gap=gap_of(train, held, seed=seed) if both else None,
        verbatim=verbatim_of(*pair, own, seed=seed) if there else None,
        diversity=diversity_of(*pair, seed=seed) if there else None,
        labels=labels_of(own, rows.train.supervised.tolist()) if own else None,
        rank=capacity.use.rank if capacity else None,
        used=capacity.use.effective_share if capacity else None,
        warned=warned_of(
            rows.train.notes,
            rows=len(np.unique(rows.train.owners)),
            lines=sample(rows.train, len(tuned.train)).lines.tolist(),
            losses=tuned.train,
            seed=seed,
        ),
    )
