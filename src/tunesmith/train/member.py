"""Who trains in the loop: an adapter with its job, plan, optimizer and state, and its next step."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from tunesmith.errors import RunError
from tunesmith.train.batches import DEFAULT_TOKENS_PER_STEP, Plan, StepRows
from tunesmith.train.checkpoint import State
from tunesmith.train.events import Ended, Planned
from tunesmith.train.job import Job


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
    earlier: float  # seconds in earlier processes
    rows: StepRows = ()

    @property
    def tokens(self) -> int:
        """Real tokens of the step."""
        return int(sum(self.member.job.rows.lengths[i] for i in self.rows))


def planned(member: Member) -> Planned:
    """What is left of a member's run, for people."""
    job, plan, state = member.job, member.plan, member.state
    tokens = job.rows.lengths.sum() / len(job.rows)
    per_step = job.settings.tokens_per_step or DEFAULT_TOKENS_PER_STEP
    if job.settings.rows_per_step:
        per_step = round(job.settings.rows_per_step * tokens)
    per_step = min(per_step, int(job.rows.lengths.sum()))
    return Planned(
        steps=plan.steps,
        first_step=state.step,
        tokens_per_step=per_step,
        tokens_per_micro_batch=plan.tokens_per_micro_batch,
        trainable_parameters=job.adapter.size,
        peak_bytes=plan.peak_bytes,
        seconds=(plan.steps - state.step) * per_step * plan.seconds_per_token,
    )
