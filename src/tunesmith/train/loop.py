"""The training loop: steps, held-out losses, checkpoints; it yields events and prints nothing."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from tunesmith.engine.allocator import release_freed_memory
from tunesmith.engine.head import loss_sum, row_losses
from tunesmith.errors import RunError
from tunesmith.train import checkpoint, memory, optimizer
from tunesmith.train.batches import StepRows, micro_batches
from tunesmith.train.checkpoint import State
from tunesmith.train.events import Ended, Event, HeldOut, Saved, StepDone
from tunesmith.train.job import Job, Plan, Rows
from tunesmith.train.schedule import factor

WARM_STEPS = 2  # not counted in tokens per second
SHOWN_ROWS = 8
# Freed memory that is kept for reuse falls to pieces; beyond this share of the plan it goes back.
GROWTH = 1.03


@dataclass(slots=True)
class Clock:
    """Seconds of this process's steps, for the time left."""

    now: Callable[[], float]
    start: float
    first_step: int

    def seconds(self) -> float:
        """Since the first step."""
        return self.now() - self.start

    def left(self, step: int, steps: int) -> float:
        """Expected seconds to the end of the run."""
        done = step - self.first_step
        return self.seconds() / done * (steps - step) if done else math.nan


def train(
    job: Job,
    plan: Plan,
    adam: torch.optim.Optimizer,
    *,
    state: State | None = None,
    stop: Callable[[], bool] = lambda: False,
    now: Callable[[], float] = time.perf_counter,
) -> Iterator[Event]:
    """Train from ``state`` (None: the start) to the last step of the plan.

    ``stop`` is asked after each step; where it says yes, the run saves and ends. The last event
    is Ended, and a checkpoint of its step is complete. Raises RunError for a loss that is no
    number or explodes, with the last good state saved and the rows named.
    """
    state = state or State(step=0, tokens=0, train_loss=math.nan)
    order = job.steps(state.step)
    clock = Clock(now, now(), state.step)
    reason = "done"
    saved = state.step
    while state.step < plan.steps:
        rows = next(order)
        state, done = _step(job, plan, adam, rows=rows, state=state, clock=clock)
        if memory.held_bytes(job.engine.device) > GROWTH * plan.peak_bytes:
            release_freed_memory()
        yield done
        if _due(job.settings.evaluate_steps or job.settings.checkpoint_steps, state.step, plan):
            state, events = _hold(job, plan, state)
            yield from events
            if job.settings.early_stop and state.misses >= job.settings.early_stop:
                reason = "early"
        stopped = stop()
        if stopped and state.step < plan.steps:
            reason = "stopped"
        ending = reason != "done" or state.step == plan.steps
        if ending or state.step % job.settings.checkpoint_steps == 0:
            yield _save(job, adam, state)
            saved = state.step
        if reason != "done":
            break
    assert saved == state.step
    yield Ended(state.step, reason)


def _due(every: int, step: int, plan: Plan) -> bool:
    return step % every == 0 or step == plan.steps


def _step(
    job: Job,
    plan: Plan,
    adam: torch.optim.Optimizer,
    *,
    rows: StepRows,
    state: State,
    clock: Clock,
) -> tuple[State, StepDone]:
    """One optimizer step over all micro-batches of its rows."""
    start = clock.now()
    parameters = list(job.adapter.trained.values())
    lr = plan.lr * factor(
        state.step, steps=plan.steps, warmup=plan.warmup, schedule=job.settings.schedule
    )
    loss = _gradients(job, plan, rows, state.step)
    limit = job.settings.clip or math.inf
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, limit))
    if not math.isfinite(norm) or not math.isfinite(loss) or loss > _exploded(job):
        adam.zero_grad(set_to_none=False)
        raise _bad_loss(job, adam, rows, state=state, values=(loss, norm, lr))
    optimizer.set_rate_(adam, lr)
    adam.step()
    adam.zero_grad(set_to_none=False)  # the gradients keep their places in memory
    job.adapter.refresh()
    tokens = int(sum(job.rows.lengths[i] for i in rows))
    seconds = clock.now() - start
    warm = state.step >= clock.first_step + WARM_STEPS
    state = replace(
        state,
        step=state.step + 1,
        tokens=state.tokens + tokens,
        train_loss=loss,
        step_seconds=state.step_seconds + seconds * warm,
        step_tokens=state.step_tokens + tokens * warm,
    )
    return state, StepDone(
        step=state.step,
        steps=plan.steps,
        tokens=state.tokens,
        loss=loss,
        lr=lr,
        grad_norm=norm,
        tokens_per_second=tokens / seconds,
        peak_bytes=memory.peak_bytes(job.engine.device),
        seconds=clock.seconds(),
        seconds_left=clock.left(state.step, plan.steps),
    )


def _gradients(job: Job, plan: Plan, rows: StepRows, step: int) -> float:
    """Gradients of the step's mean loss, summed over micro-batches; that loss."""
    count = sum(float(job.rows[i].weights.sum()) for i in rows)
    total = 0.0
    groups = micro_batches(rows, job.rows.lengths.tolist(), tokens=plan.tokens_per_micro_batch)
    for group in groups:
        batch = job.batch([(i, job.rows[i]) for i in group], step=step)
        hidden = job.engine.hidden_states(batch, recompute=plan.recompute)
        loss = loss_sum(hidden, batch, job.engine.head, count=count)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    job.adapter.gather()
    return total


def held_out_loss(job: Job, rows: Rows, *, tokens: int) -> float:
    """Mean loss of rows in nats per supervised token, in constant memory."""
    lengths = rows.lengths.tolist()
    total, count = 0.0, 0.0
    with torch.no_grad():
        for group in micro_batches(tuple(range(len(rows))), lengths, tokens=tokens):
            batch = job.batch([(i, rows[i]) for i in group])
            losses = row_losses(job.engine.hidden_states(batch), batch, job.engine.head)
            total += float((losses.double() * batch.weights).sum())
            count += float(batch.weights.sum())
    return total / count


def _hold(job: Job, plan: Plan, state: State) -> tuple[State, list[Event]]:
    """The held-out loss, the best checkpoint kept; nothing without held-out rows."""
    if job.held is None:
        return state, []
    loss = held_out_loss(job, job.held, tokens=plan.tokens_per_micro_batch)
    best = state.best_loss is None or loss < state.best_loss
    if not best:
        return replace(state, misses=state.misses + 1), [HeldOut(state.step, loss, best=False)]
    state = replace(state, best_loss=loss, best_step=state.step, misses=0)
    checkpoint.save_best(job.folder / "checkpoints", state, job.adapter.parameters)
    return state, [HeldOut(state.step, loss, best=True)]


def _save(job: Job, adam: torch.optim.Optimizer, state: State) -> Event:
    parent = job.folder / "checkpoints"
    folder = checkpoint.folder_of(parent, state.step)
    checkpoint.save(folder, state, job.adapter.parameters, adam)
    checkpoint.prune(parent, keep=job.settings.keep_checkpoints)
    return Saved(state.step, str(folder))


def _exploded(job: Job) -> float:
    """A loss that only a broken model has: twice that of guessing evenly."""
    return 2 * math.log(job.engine.head_weight.shape[0])


def _bad_loss(
    job: Job,
    adam: torch.optim.Optimizer,
    rows: StepRows,
    *,
    state: State,
    values: tuple[float, float, float],
) -> RunError:
    loss, norm, lr = values
    if state.step and math.isfinite(state.train_loss):
        checkpoint.save(
            checkpoint.folder_of(job.folder / "checkpoints", state.step),
            state,
            job.adapter.parameters,
            adam,
        )
    kept = f"The state after step {state.step} is kept. " if state.step else ""
    places = [f"{job.rows[i].file}:{job.rows[i].line}" for i in rows]
    more = f" and {len(places) - SHOWN_ROWS} more" if len(places) > SHOWN_ROWS else ""
    return RunError(
        f"Step {state.step + 1}: the loss is {loss:.4g} and the gradient's norm {norm:.4g} at "
        f"learning rate {lr:.2g}; rows {', '.join(places[:SHOWN_ROWS])}{more}.",
        remedy=f"{kept}Look at these rows, or start again with a lower train.lr.",
        code="loss",
    )
