"""What held-out rows lose while a run trains, and which of its checkpoints is the best so far."""

import math
from dataclasses import replace

import torch

from tunesmith.core.errors import MemoryRefusal
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Cancelled, Event, Progress
from tunesmith.core.rank_help import together
from tunesmith.engine import memory
from tunesmith.engine.head import row_losses
from tunesmith.engine.shard import own_part
from tunesmith.training import average, checkpoint
from tunesmith.training.checkpoint import State
from tunesmith.training.events import HeldOut
from tunesmith.training.job import Job, Member, Rows
from tunesmith.training.steps import Plan, StepRows, micro_batches

CLEARLY_LOWER = 0.001  # nats a token: smaller gains are no reason for more passes


def held_out_loss(job: Job, rows: Rows, *, tokens: int, progress: Progress = SILENT) -> float:
    """Mean loss of rows in nats per supervised token, in constant memory; Cancelled between two
    batches where that was asked for. Ranks divide the batches among them.
    """

    def of_rows(job: Job, group: StepRows) -> tuple[float, float]:
        return _loss_and_weight(job, rows, group)

    make = _of_held if rows is job.held else of_rows
    groups = micro_batches(tuple(range(len(rows))), rows.lengths.tolist(), tokens=tokens)
    total, count = 0.0, 0.0
    for losses, weights in together(job, make, groups, check=progress.check):
        total, count = total + losses, count + weights
    return total / count


def _of_held(job: Job, group: StepRows) -> tuple[float, float]:
    """Of held-out rows, by their places: what another rank is asked for names its own rows."""
    assert job.held is not None
    return _loss_and_weight(job, job.held, group)


@torch.no_grad()
def _loss_and_weight(job: Job, rows: Rows, group: StepRows) -> tuple[float, float]:
    """Sums over some rows, which are computed in halves where memory does not hold them all.

    Raises MemoryRefusal where it does not hold one.
    """
    try:
        batch = job.batch([(i, rows[i]) for i in group])
        losses = row_losses(job.engine.hidden_states(batch), batch, job.engine.head)
        weights = batch.on_host.weights
        return float((losses.cpu().double() * weights).sum()), float(weights.sum())
    except (RuntimeError, MemoryError) as error:
        if not memory.has_run_out(error):
            raise
    memory.release(job.engine.device)
    middle = len(group) // 2
    if not middle:
        row = rows[group[0]]
        raise MemoryRefusal(
            f"Memory ran out on one held-out document of {pluralize(len(row.ids), 'token')}, "
            f"{row.file}:{row.line}.",
            remedy="Hold out shorter ones, or free memory and continue with --resume.",
        )
    halves = [_loss_and_weight(job, rows, half) for half in (group[:middle], group[middle:])]
    return halves[0][0] + halves[1][0], halves[0][1] + halves[1][1]


def hold(member: Member, progress: Progress) -> tuple[State, list[Event]]:
    """The held-out loss, the best checkpoint kept; nothing without held-out rows.

    Where it is cancelled it stays due, so that a resumed run has all losses of an unbroken one.
    """
    if member.job.held is None:
        return member.state, []
    with average.in_place(member.adam, member.job.adapter):
        return _held(member.job, member.job.held, member.plan, member.state, progress)


def _held(
    job: Job, held: Rows, plan: Plan, state: State, progress: Progress
) -> tuple[State, list[Event]]:
    """What ``hold`` does, of the weights as they are now."""
    try:
        loss = held_out_loss(job, held, tokens=plan.tokens_per_micro_batch, progress=progress)
        before = _best_answered(job, state, loss)
        passed = job.passed() if job.passed is not None and _can_decide(before, loss) else None
    except Cancelled:
        return replace(state, hold_due=True), []
    best = is_better(before, loss, passed)
    event = HeldOut(state.step, loss, best=best, passed=passed)
    if before is not state:
        event = replace(event, best_step=before.best_step, best_passed=before.best_passed)
    state = replace(before, hold_due=False, misses=before.misses + 1)
    if not best:
        return state, [event]
    if is_clearly_better(before, loss, passed):
        state = replace(state, misses=0, reset_loss=loss)
    state = replace(state, best_loss=loss, best_step=state.step, best_passed=passed)
    checkpoint.save_best(job.folder / "checkpoints", state, job.adapter.parameters)
    return state, [event]


def _best_answered(job: Job, state: State, loss: float) -> State:
    """The state with the best checkpoint's answers, at the first loss that is higher: while losses
    fall, none are needed.
    """
    if job.passed is None or state.best_loss is None or state.best_passed is not None:
        return state
    if not state.best_loss <= loss < math.inf or (passed := _passed_at_best(job)) is None:
        return state
    return replace(state, best_passed=passed)


def _passed_at_best(job: Job) -> float | None:
    """What the best checkpoint answers; the adapter is as it was after that."""
    assert job.passed is not None
    folder, parameters = job.folder / "checkpoints" / checkpoint.BEST, job.adapter.parameters
    now = [
        (own_part(p.detach()), own_part(p.detach()).to("cpu", copy=True))
        for p in parameters.values()
    ]
    try:
        checkpoint.put_back_on_all_(folder, job.adapter)
        job.adapter.refresh()
        return job.passed()
    finally:
        for tensor, kept in now:
            tensor.copy_(kept)
        job.adapter.refresh()


def is_better(state: State, loss: float, passed: float | None) -> bool:
    """Whether this held-out loss, in nats a token, is of a better checkpoint than the best so far.

    It is where the loss is lower. Where a share of training rows that are answered as they should
    be is known, a higher one comes first: few passes can leave a base that falls into loops, which
    raises no loss.
    """
    if not math.isfinite(loss):
        return False
    lower = state.best_loss is None or loss < state.best_loss
    if passed is None or state.best_passed is None or passed == state.best_passed:
        return lower
    return passed > state.best_passed


def is_clearly_better(state: State, loss: float, passed: float | None) -> bool:
    """Whether a better checkpoint is a reason to train further, in the count of `train.patience`.

    A loss that has fallen by less than `CLEARLY_LOWER` since the last such one is not.
    """
    last = state.best_loss if state.reset_loss is None else state.reset_loss
    if last is None or loss <= last - CLEARLY_LOWER:
        return True
    return passed is not None and state.best_passed is not None and passed > state.best_passed


def _can_decide(state: State, loss: float) -> bool:
    """Whether answers can: where the best one's are known, and some wrong or of a higher loss."""
    if state.best_passed is None or state.best_loss is None or not math.isfinite(loss):
        return False
    return loss < state.best_loss or state.best_passed < 1
