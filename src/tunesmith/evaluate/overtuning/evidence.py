"""What was measured of a run, from which it is diagnosed; what is None was not measured."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.evaluate.interval import Interval
from tunesmith.evaluate.overtuning.diversity import Diversity
from tunesmith.evaluate.overtuning.gap import Gap
from tunesmith.evaluate.overtuning.verbatim import Verbatim

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
    gap: Gap | None = None
    verbatim: Verbatim | None = None
    diversity: Diversity | None = None
    labels: Labels | None = None
    rank: int | None = None
    used: float | None = None
    warned: Mapping[str, Warned] = field(default_factory=dict)
