"""What the loop works on: a base with an adapter, rows, settings, the plan, and its position."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tunesmith.config.run import TrainSettings
from tunesmith.core import ranks
from tunesmith.core.errors import ConfigError, RunError
from tunesmith.core.progress import ignore
from tunesmith.data.rows import TokenRow
from tunesmith.engine import memory
from tunesmith.engine.batch import Dropout, PackedBatch
from tunesmith.engine.forward import Engine
from tunesmith.engine.pack import Row, pack
from tunesmith.methods.adapter import Adapter
from tunesmith.training import average
from tunesmith.training.checkpoint import State
from tunesmith.training.events import Ended, Planned
from tunesmith.training.optimizer import zero_gradients_
from tunesmith.training.retention import Retention
from tunesmith.training.steps import (
    Copies,
    Plan,
    StepRows,
    endless_steps,
    mean_tokens_of_step,
    micro_batches,
)

# Seconds of a token of a held-out loss, as a share of one of a step (docs/log.md, "How long an
# evaluation takes").
HELD_OUT_SHARE = 0.43
# Times that training rows are answered, at most in most runs: from the first higher loss on.
ANSWERED_TIMES = 3
# A common beginning shorter than this is not worth a document of its own.
SHARE_TOKENS = 8


class Rows(Protocol):
    """Rendered rows by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> TokenRow: ...
    @property
    def lengths(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True, slots=True)
class Job:
    """One training run; ``keep_plan`` gets a plan that had to change.

    ``passed`` answers training rows with the adapter as it is now, and gives the share that is as
    it should be, or None where memory ran out; without it the held-out loss alone chooses. It may
    raise Cancelled.
    """

    engine: Engine
    adapter: Adapter
    rows: Rows
    held: Rows | None
    settings: TrainSettings
    folder: Path
    copies: Copies = ()
    keep_plan: Callable[[Plan], object] = ignore
    fixed_steps: tuple[StepRows, ...] = ()  # the rows of each step, where they are not drawn
    retention: Retention | None = None
    passed: Callable[[], float | None] | None = None

    def steps(self, first: int) -> Iterator[StepRows]:
        """The rows of step ``first`` and of every later one."""
        if self.fixed_steps:
            return iter(self.fixed_steps[first:])
        return endless_steps(self.rows.lengths, self.settings, copies=self.copies, first=first)

    @property
    def name(self) -> str | None:
        """What its documents are marked with: the adapter, None where the base is trained."""
        return self.adapter.name if self.adapter.frozen_base else None

    def document(self, i: int) -> TokenRow:
        """Row ``i``; the retention documents are numbered after all rows."""
        if i < len(self.rows):
            return self.rows[i]
        assert self.retention is not None
        return self.retention.documents[i - len(self.rows)]

    def length(self, i: int) -> int:
        """Tokens of document ``i``."""
        return int(self.rows.lengths[i]) if i < len(self.rows) else len(self.document(i).ids)

    def balance_weight(self, documents: Sequence[int]) -> float:
        """What a token of a step's documents counts in the load-balance loss of each router."""
        tokens = sum(map(self.length, documents))
        return self.settings.load_balance / (tokens * len(self.engine.routers))

    def drawn(self, step: int, rows: StepRows) -> StepRows:
        """The retention documents of a step that has these rows."""
        if self.retention is None:
            return ()
        tokens = sum(map(self.length, rows))
        first = len(self.rows)
        return tuple(first + i for i in self.retention.drawn(step, tokens=tokens))

    def streamed(self, tokens: int) -> int:
        """Tokens of a step whose rows have so many: what is retained is beside them."""
        return tokens + round(tokens * (self.retention.share if self.retention else 0))

    def packable(self, numbers: Iterable[int]) -> list[Row]:
        """Documents as they are packed for the adapter."""
        return [packed(self.document(i), self.name, i, self._teacher(i)) for i in numbers]

    def _teacher(self, i: int) -> Tensor | None:
        if self.retention is None or i < len(self.rows):
            return None
        return self.retention.states[i - len(self.rows)]

    def batch(
        self, rows: Iterable[tuple[int, TokenRow]], *, step: int | None = None
    ) -> PackedBatch:
        """Numbered rows as a packed batch where the base lies.

        With a ``step`` it is for training (dropout).
        """
        dropout = {} if step is None else self.dropout(step)
        made = pack_for(self.engine, [packed(row, self.name, i) for i, row in rows], dropout)
        return made.to(self.engine.device)

    def dropout(self, step: int) -> dict[str | None, Dropout]:
        """What keys the adapter's masks in a step; nothing where it drops nothing."""
        drops = self.adapter.drops
        return {self.name: Dropout(self.settings.seed, step)} if drops else {}


def packed(row: TokenRow, adapter: str | None, key: int, teacher: Tensor | None = None) -> Row:
    """A row of tokens as the engine packs it."""
    return Row(row.ids.tolist(), row.weights.tolist(), adapter, key, teacher)


def pack_for(
    engine: Engine,
    rows: Sequence[Row],
    dropout: Mapping[str | None, Dropout],
    *,
    share: int = SHARE_TOKENS,
) -> PackedBatch:
    """Rows, of any adapters, as one packed batch on the CPU."""
    return pack(rows, share=share, dropout=dropout, prefixes=engine.prefixes)


@dataclass(slots=True, eq=False)
class Member:
    """One adapter in training: its job and plan, its optimizer, and its position.

    ``error`` is why it ended where its loss was no number or exploded, or memory ran out.
    ``evaluation_seconds``: what follows is expected to take from so long to so long, and
    ``answering_seconds`` the answers to training rows, each time.
    """

    job: Job
    plan: Plan
    adam: torch.optim.Optimizer
    state: State = field(default_factory=lambda: State(step=0, tokens=0, train_loss=math.nan))
    ended: Ended | None = None
    error: RunError | None = None
    evaluation_seconds: tuple[float, float] = (0.0, 0.0)
    answering_seconds: float = 0.0
    earlier_seconds: float = field(init=False)  # of earlier processes

    def __post_init__(self) -> None:
        """Count on from the state."""
        self.earlier_seconds = self.state.seconds

    @property
    def over(self) -> str | None:
        """Why there is no further step, of a resumed run too; None where there is one."""
        return reason_to_end(self.state, self.plan, self.job.settings)

    def end_training(self) -> None:
        """After the last step: keep the average where there is one, free the rest of the state."""
        average.swap_(self.adam, self.job.adapter)
        self.adam.state.clear()
        self.adam.zero_grad(set_to_none=True)
        memory.release(self.job.engine.device)

    def drop_gradients(self) -> None:
        """Begin a step anew: gradients that were computed so far are gone."""
        self.job.adapter.refresh()  # and those that were not collected
        zero_gradients_(self.adam)


@dataclass(slots=True, eq=False)
class Round:
    """A member in this process: the documents of its next step, and its clock."""

    member: Member
    order: Iterator[StepRows]
    first_step: int
    start: float
    rows: StepRows = ()
    retained: StepRows = ()

    def draw(self) -> None:
        """Take the next step's rows, and what is retained beside them."""
        self.rows = next(self.order)
        self.retained = self.member.job.drawn(self.member.state.step, self.rows)

    @property
    def tokens(self) -> int:
        """Tokens of the step's rows."""
        return sum(map(self.member.job.length, self.rows))


def reason_to_end(state: State, plan: Plan, settings: TrainSettings) -> str | None:
    """Why no step follows this state; None where one does."""
    if settings.patience and state.misses >= settings.patience:
        return "early"
    return "done" if state.step >= plan.steps else None


def require_trained_routers(settings: TrainSettings, engine: Engine, adapter: Adapter) -> None:
    """Raise ConfigError where a load-balance loss would change nothing."""
    if not settings.load_balance:
        return
    routers, name = engine.routers, adapter.name
    if not routers:
        raise ConfigError(
            "train.load_balance: this base has no mixture of experts.", remedy="Leave it at 0."
        )
    if adapter.frozen_base and not any(name in seam.terms for seam in routers.values()):
        ending = ".".join(next(iter(routers)).rsplit(".", 2)[-2:])
        raise ConfigError(
            "train.load_balance: the router is frozen, so that it would change nothing.",
            remedy=f"Name it: --method.target_parameters '[{ending}]', or leave it at 0.",
        )


def planned(member: Member) -> Planned:
    """What is left of a member's run, for people."""
    job, plan, state = member.job, member.plan, member.state
    per_step = round(mean_tokens_of_step(job.rows.lengths, job.settings, copies=job.copies))
    low, high = member.evaluation_seconds
    steps = 0 if member.over else plan.steps - state.step
    seconds = steps * per_step * job.settings.work
    times = _held_out_times(member)
    if job.held is not None:
        seconds += HELD_OUT_SHARE * times * int(job.held.lengths.sum())
    seconds *= plan.seconds_per_token / ranks.size()
    return Planned(
        steps=plan.steps,
        first_step=state.step,
        tokens_per_step=per_step,
        tokens_per_micro_batch=plan.tokens_per_micro_batch,
        trainable_parameters=job.adapter.size,
        peak_bytes=plan.peak_bytes,
        seconds=seconds + min(times, ANSWERED_TIMES) * member.answering_seconds,
        evaluation_seconds=low,
        evaluation_seconds_most=high,
        is_retained=job.settings.retention is not None,
        ranks=ranks.size(),
        lr=plan.lr,
    )


def ranks_at_work(member: Member) -> int:
    """How many ranks have a micro-batch in the member's next step."""
    job, plan, step = member.job, member.plan, member.state.step
    rows = next(job.steps(step), ()) if ranks.size() > 1 else ()
    if not rows:  # of one rank, or after the last step
        return ranks.size()
    documents = (*rows, *job.drawn(step, rows))
    lengths = {i: job.length(i) for i in documents}
    tokens = plan.tokens_per_micro_batch
    groups = micro_batches(documents, lengths, tokens=tokens, ranks=plan.ranks)
    return min(ranks.size(), len(groups))


def _held_out_times(member: Member) -> int:
    """How many held-out losses there are in the steps to come."""
    if member.over:
        return 0
    job, done, steps = member.job, member.state.step, member.plan.steps
    every = job.settings.evaluate_steps or job.settings.save_steps
    return steps // every - done // every + (steps % every > 0 and done < steps)
