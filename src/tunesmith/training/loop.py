"""The training loop: steps, held-out losses, checkpoints; it yields events and prints nothing.

Any number of adapters train together over one base: in each round all make a step of their own,
and their documents share packed streams.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from tunesmith.core.errors import RunError
from tunesmith.core.progress import SILENT, Event, Progress
from tunesmith.core.ranks import any_of, is_first
from tunesmith.engine import memory
from tunesmith.engine.memory import release_freed_memory
from tunesmith.training import average, checkpoint, loss_scale, optimizer
from tunesmith.training.checkpoint import State
from tunesmith.training.events import Ended, Saved, StepDone
from tunesmith.training.gradients import StepLoss, add_gradients
from tunesmith.training.held_out import hold
from tunesmith.training.job import Job, Member, Round
from tunesmith.training.steps import StepRows

WARM_STEPS = 2  # not counted in tokens per second
SHOWN_ROWS = 8
# Freed memory that is kept for reuse falls to pieces; beyond this share of the plan it goes back.
GROWTH = 1.03


def nobody() -> Iterable[Member]:
    """For a group that stays as it is."""
    return ()


def train(
    members: Sequence[Member],
    *,
    progress: Progress = SILENT,
    now: Callable[[], float] = time.perf_counter,
    joining: Callable[[], Iterable[Member]] = nobody,
) -> Iterator[tuple[Member, Event]]:
    """Train each member from its state to the last step of its plan, all over one base.

    ``joining`` is called after each round: the members that it gives begin then, and one whose
    ``ended`` it sets takes no further step.

    A cancel is asked for after each round; all save then, and end. The last event of a member is
    Ended, and a checkpoint of its step is complete. A loss that is no number or explodes
    ends its member as `failed`, with the last good state saved and the rows named in ``error``, as
    does a document that does not fit into memory; the others continue.
    """
    going: list[Round] = []
    coming: Iterable[Member] = members
    while True:
        for member in coming:
            yield from _before(member, progress)
            step = member.state.step
            going.append(Round(member, member.job.steps(step), step, now()))
        going = [each for each in going if each.member.ended is None]
        if going:
            yield from _round(going, progress, now)
        coming = list(joining())
        if not coming and all(each.member.ended is not None for each in going):
            return


def _round(
    going: Sequence[Round], progress: Progress, now: Callable[[], float]
) -> Iterator[tuple[Member, Event]]:
    """A step of each."""
    for each in going:
        each.draw()
    start = now()
    found, notices = add_gradients(going)
    for each, notice in notices:
        yield each.member, notice
    seconds, total = now() - start, sum(each.tokens for each in going)
    steps = [
        _step(each, found[each], seconds * each.tokens / total, now) if each in found else None
        for each in going
    ]
    plan, device = going[0].member.plan, going[0].member.job.engine.device
    if device.type == "cpu" and memory.held_bytes(device) > GROWTH * plan.peak_bytes:
        release_freed_memory()
    is_cancelled = False
    for number, (each, done) in enumerate(zip(going, steps, strict=True)):
        if done is not None:
            yield each.member, done
        # asked once, after the first step was reported
        is_cancelled = any_of(progress.is_cancelled) if number == 0 else is_cancelled
        for event in _after(each.member, progress, is_cancelled=is_cancelled):
            yield each.member, event
        is_cancelled |= each.member.state.hold_due
    if is_cancelled:  # within a held-out loss: those before it end at the same step
        for member in (each.member for each in going if each.member.ended is None):
            yield member, _save(member.job, member.adam, member.state)
            yield member, _end(member, "stopped")


def _end(member: Member, reason: str) -> Ended:
    member.ended = Ended(member.state.step, reason)
    return member.ended


def _before(member: Member, progress: Progress) -> Iterator[tuple[Member, Event]]:
    """What precedes the first step: a held-out loss that a stop left out, or the end."""
    yield from overdue(member, progress)
    if member.ended is None and (reason := member.over) is not None:
        yield member, _end(member, reason)


def overdue(member: Member, progress: Progress) -> Iterator[tuple[Member, Event]]:
    """The held-out loss that a stop left out, if it did, with its checkpoint."""
    if not member.state.hold_due:
        return
    member.state, events = hold(member, progress)
    yield from ((member, event) for event in events)
    if member.state.hold_due:
        yield member, _end(member, "stopped")
    else:
        yield member, _save(member.job, member.adam, member.state)


def _after(member: Member, progress: Progress, *, is_cancelled: bool) -> Iterator[Event]:
    """What follows a step: the held-out loss, a checkpoint, the end, where they are due."""
    if member.error is not None:
        if member.state.step and math.isfinite(member.state.train_loss):
            yield _save(member.job, member.adam, member.state)
        yield _end(member, "failed")
        return
    job, plan = member.job, member.plan
    every = job.settings.evaluate_steps or job.settings.save_steps
    if member.state.step % every == 0 or member.state.step == plan.steps:
        member.state, events = hold(member, progress)
        yield from events
    step, reason = member.state.step, member.over
    if member.state.hold_due or (is_cancelled and step < plan.steps):
        reason = "stopped"
    if reason or step % job.settings.save_steps == 0:
        yield _save(job, member.adam, member.state)
    if reason:
        yield _end(member, reason)


def _step(
    each: Round, found: StepLoss, seconds: float, now: Callable[[], float]
) -> StepDone | None:
    """The optimizer's step on clipped gradients; None where they are unusable.

    ``seconds``: what the gradients took.
    """
    start, member, loss, norm = now(), each.member, found.task, found.norm
    job, plan, adam, state = member.job, member.plan, member.adam, member.state
    lr = plan.rate(state.step, job.settings.schedule)
    # which only a broken model has: twice the loss of guessing evenly
    exploded = 2 * math.log(job.engine.head_weight.shape[0])
    if not math.isfinite(norm) or not math.isfinite(loss) or loss > exploded:
        member.drop_gradients()
        member.error = _bad_loss(job, each.rows, state, loss=loss, norm=norm, lr=lr)
        return None
    optimizer.set_rate_(adam, lr)
    adam.step()
    optimizer.zero_gradients_(adam)
    window = job.settings.average_window
    average.update_(adam, window=window, step=state.step + 1, steps=plan.steps)
    job.adapter.refresh()
    seconds += now() - start
    warm, gone = state.step >= each.first_step + WARM_STEPS, now() - each.start
    member.state = state = replace(
        loss_scale.advanced(state, job.engine.compute_dtype),
        step=state.step + 1,
        tokens=state.tokens + each.tokens,
        train_loss=loss,
        step_seconds=state.step_seconds + seconds * warm,
        step_tokens=state.step_tokens + each.tokens * warm,
        seconds=member.earlier_seconds + gone,
    )
    return StepDone(
        step=state.step,
        steps=plan.steps,
        tokens=state.tokens,
        loss=loss,
        lr=lr,
        grad_norm=norm,
        tokens_per_second=each.tokens / seconds,
        peak_bytes=found.peak_bytes,
        seconds=gone,
        seconds_left=gone / (state.step - each.first_step) * (plan.steps - state.step),
        divergence=found.divergence,
    )


def _save(job: Job, adam: torch.optim.Optimizer, state: State) -> Event:
    parent = job.folder / "checkpoints"
    folder = checkpoint.folder_of(parent, state.step)
    checkpoint.save(folder, state, job.adapter.parameters, adam)
    if is_first():
        checkpoint.prune(parent, keep=job.settings.keep_checkpoints)
    return Saved(state.step, str(folder))


def _remedy(job: Job) -> str:
    if job.engine.compute_dtype == torch.float16:
        return (
            "float16 reaches to 65,504, which some bases exceed: start again with dtype bfloat16 "
            "or float32, or with a lower train.lr."
        )
    return "Look at these rows, or start again with a lower train.lr."


def _bad_loss(
    job: Job, rows: StepRows, state: State, *, loss: float, norm: float, lr: float
) -> RunError:
    kept = f"The state after step {state.step} is kept. " if state.step else ""
    places = [f"{job.rows[i].file}:{job.rows[i].line}" for i in rows]
    more = f" and {len(places) - SHOWN_ROWS} more" if len(places) > SHOWN_ROWS else ""
    return RunError(
        f"Step {state.step + 1}: the loss is {loss:.4g} and the gradient's norm {norm:.4g} at "
        f"learning rate {lr:.2g}; rows {', '.join(places[:SHOWN_ROWS])}{more}.",
        remedy=f"{kept}{_remedy(job)}",
        code="loss",
    )
