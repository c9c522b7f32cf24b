"""What held-out rows lose while a run trains, and which of its checkpoints is the best so far."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from tunesmith.config.run import TOKEN_ACCURACY
from tunesmith.core.errors import MemoryRefusal
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Cancelled, Event, Progress
from tunesmith.core.rank_help import together
from tunesmith.engine import memory
from tunesmith.engine.head import losses_and_hits
from tunesmith.engine.shard import own_part
from tunesmith.training import average, checkpoint
from tunesmith.training.checkpoint import State
from tunesmith.training.events import HeldOut
from tunesmith.training.job import Job, Member, Rows
from tunesmith.training.steps import Plan, StepRows, micro_batches

CLEARLY_LOWER = 0.001  # nats a token: smaller gains are no reason for more passes
_Sums = tuple[float, float, float]  # of losses, of hits and of weights


@dataclass(frozen=True, slots=True)
class HeldOutScores:
    """Of some rows, by the weights of their supervised tokens: mean loss in nats a token, and the
    share of them that are the most likely ones after the row's own tokens before them.
    """

    loss: float
    token_accuracy: float


def held_out_loss(job: Job, rows: Rows, *, tokens: int, progress: Progress = SILENT) -> float:
    """The loss of ``held_out_scores``."""
    return held_out_scores(job, rows, tokens=tokens, progress=progress).loss


def held_out_scores(
    job: Job, rows: Rows, *, tokens: int, progress: Progress = SILENT
) -> HeldOutScores:
    """Scores of rows in constant memory; Cancelled between batches where that was asked for.

    Ranks divide the batches among them.
    """

    def of_rows(job: Job, group: StepRows) -> _Sums:
        return _sums(job, rows, group)

    make = _of_held if rows is job.held else of_rows
    groups = micro_batches(tuple(range(len(rows))), rows.lengths.tolist(), tokens=tokens)
    found = together(job, make, groups, check=progress.check)
    losses, hits, weights = map(sum, zip(*found, strict=True))
    return HeldOutScores(losses / weights, hits / weights)


def _of_held(job: Job, group: StepRows) -> _Sums:
    """Of held-out rows, by their places: what another rank is asked for names its own rows."""
    assert job.held is not None
    return _sums(job, job.held, group)


@torch.no_grad()
def _sums(job: Job, rows: Rows, group: StepRows) -> _Sums:
    """Losses, hits and weights of some rows: of halves where memory does not hold them all.

    Raises MemoryRefusal where it does not hold one.
    """
    try:
        batch = job.batch([(i, rows[i]) for i in group])
        found = losses_and_hits(job.engine.hidden_states(batch), batch, job.engine.head)
        weights = batch.on_host.weights
        losses, hits = (float((each.cpu().double() * weights).sum()) for each in found)
        return losses, hits, float(weights.sum())
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
    first, second = (_sums(job, rows, half) for half in (group[:middle], group[middle:]))
    return first[0] + second[0], first[1] + second[1], first[2] + second[2]


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
        found = held_out_scores(job, held, tokens=plan.tokens_per_micro_batch, progress=progress)
        loss, before = found.loss, _best_answered(job, state, found.loss)
        passed = job.passed() if job.passed is not None and _can_decide(before, loss) else None
    except Cancelled:
        return replace(state, hold_due=True), []
    accuracy = found.token_accuracy if job.settings.best_by == TOKEN_ACCURACY else None
    best = is_better(before, loss, passed, accuracy)
    event = HeldOut(state.step, loss, best, found.token_accuracy, passed)
    if before is not state:
        event = replace(event, best_step=before.best_step, best_passed=before.best_passed)
    state = replace(before, hold_due=False, misses=before.misses + 1)
    if not best:
        return state, [event]
    if is_clearly_better(before, loss, passed, accuracy):
        state = replace(state, misses=0, reset_loss=loss)
    state = replace(state, best_loss=loss, best_step=state.step)
    state = replace(state, best_passed=passed, best_accuracy=accuracy)
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


def is_better(
    state: State, loss: float, passed: float | None = None, accuracy: float | None = None
) -> bool:
    """Whether this held-out loss, in nats a token, is of a better checkpoint than the best so far.

    It is where the loss is lower. Where a share of training rows that are answered as they should
    be is known, a higher one comes first: few passes can leave a base that falls into loops, which
    raises no loss. So does a higher token accuracy: the few tokens that a model is wrong about at
    ever higher confidence raise the loss while others become right.
    """
    if not math.isfinite(loss):
        return False
    for share, best in _shares(state, passed, accuracy):
        if share != best:
            return share > best
    return state.best_loss is None or loss < state.best_loss


def is_clearly_better(
    state: State, loss: float, passed: float | None = None, accuracy: float | None = None
) -> bool:
    """Whether a better checkpoint is a reason to train further, in the count of `train.patience`.

    A loss that has fallen by less than `CLEARLY_LOWER` since the last such one is not.
    """
    last = state.best_loss if state.reset_loss is None else state.reset_loss
    if last is None or loss <= last - CLEARLY_LOWER:
        return True
    return any(share > best for share, best in _shares(state, passed, accuracy))


def _shares(
    state: State, passed: float | None, accuracy: float | None
) -> Iterator[tuple[float, float]]:
    """What decides before the loss, with that of the best checkpoint: what is known of both."""
    for share, best in ((passed, state.best_passed), (accuracy, state.best_accuracy)):
        if share is not None and best is not None:
            yield share, best


def _can_decide(state: State, loss: float) -> bool:
    """Whether answers can: where the best one's are known, and some wrong or of a higher loss."""
    if state.best_passed is None or state.best_loss is None or not math.isfinite(loss):
        return False
    return loss < state.best_loss or state.best_passed < 1
