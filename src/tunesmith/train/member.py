"""Who trains in the loop: an adapter with its job, plan, optimizer and state, and its next step."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from tunesmith.errors import RunError
from tunesmith.train.batches import StepRows
from tunesmith.train.checkpoint import State
from tunesmith.train.events import Ended
from tunesmith.train.job import Job, Plan


@dataclass(slots=True, eq=False)
class Member:
    """One adapter in training: its job and plan, its optimizer, and where it stands.

    ``error`` is why it ended where its loss was no number or exploded, or memory ran out.
    """

    job: Job
    plan: Plan
    adam: torch.optim.Optimizer
    state: State = field(default_factory=lambda: State(step=0, tokens=0, train_loss=math.nan))
    ended: Ended | None = None
    error: RunError | None = None

    def drop_gradients(self) -> None:
        """Begin a step anew: gradients that were computed so far are gone."""
        self.job.adapter.refresh()  # and those that were not gathered
        self.adam.zero_grad(set_to_none=False)  # the gradients keep their places in memory


@dataclass(slots=True, eq=False)
class Round:
    """A member in this process: the rows of its next step, and its clock."""

    member: Member
    order: Iterator[StepRows]
    first_step: int
    start: float
    rows: StepRows = ()

    @property
    def tokens(self) -> int:
        """Real tokens of the step."""
        return int(sum(self.member.job.rows.lengths[i] for i in self.rows))
