"""Before the first step: micro-batch size, recomputation, memory and time, by measuring.

Out of memory on a CPU never raises: the kernel kills. So small batches of the longest documents
are tried first, and a size is only tried where it fits by the trend.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tunesmith.config.run import RECOMPUTE, Recompute
from tunesmith.core import ranks
from tunesmith.core.errors import MemoryRefusal
from tunesmith.core.numbers import pluralize
from tunesmith.core.ranks import gather
from tunesmith.data.rows import TokenRow
from tunesmith.engine import memory
from tunesmith.engine.device import elapsed
from tunesmith.engine.head import loss_sum
from tunesmith.methods.sizes import auto_tokens
from tunesmith.training.gradients import takes_less
from tunesmith.training.job import Job
from tunesmith.training.steps import Plan, tokens_per_step, total_steps, warmup_of

FIRST_TOKENS = 256
_ROOM = 2  # of a rank's share of a step: whole rows do not divide evenly
MARGIN = 1.2  # on a trend that was measured on shorter documents


@dataclass(frozen=True, slots=True)
class _Try:
    """One measured micro-batch."""

    tokens: int
    peak_bytes: int
    seconds: float


def make_plan(
    job: Job, *, lr: float, together: int = 0, now: Callable[[], float] = time.perf_counter
) -> Plan:
    """Decide micro-batch size and recomputation; MemoryRefusal where nothing fits.

    ``together``: tokens that a step of all jobs has which train together with this one.
    """
    settings = job.settings
    longest = int(job.rows.lengths.max())
    wanted = settings.tokens_per_micro_batch
    size = _auto_tokens(job, max(together, stream_tokens(job))) if wanted == "auto" else wanted
    size = max(size, longest)
    least = longest if wanted == "auto" else size
    choices = RECOMPUTE if settings.recompute == "auto" else (settings.recompute,)
    for recompute in choices:
        # ranks take the same steps here, and the plan of the one with the least memory
        limit = min(gather(min(size, _largest(job, size, recompute=recompute, now=now))))
        while limit >= least:
            found = gather(_measure(job, limit, recompute=recompute, now=now))
            if (measured := _slowest(found)) is not None:
                return _plan(job, limit, measured, recompute=recompute, lr=lr)
            limit = max(least, limit // 2) if limit > least else limit // 2
    raise _refusal(job, least, limit, recompute=choices[-1])


def _slowest(found: Sequence[_Try | None]) -> _Try | None:
    """What the ranks measured, as the one that took most; None where it did not fit on one."""
    fitting = [each for each in found if each is not None]
    if len(fitting) < len(found):
        return None
    slowest = max(fitting, key=lambda each: each.seconds / each.tokens)
    return replace(slowest, peak_bytes=max(each.peak_bytes for each in fitting))


def _auto_tokens(job: Job, of_step: int) -> int:
    """Tokens of a micro-batch where memory sets no limit: on an accelerator those of the step.

    Ranks share a step.
    """
    of_step = min(of_step, -(-_ROOM * of_step // ranks.size()))
    device, frozen = job.engine.device.type, job.adapter.frozen_base
    return auto_tokens(of_step, device=device, frozen_base=frozen)


def _plan(job: Job, tokens: int, measured: "_Try", *, recompute: Recompute, lr: float) -> Plan:
    seconds_per_token = measured.seconds / measured.tokens
    steps = _steps(job, seconds_per_token)
    return Plan(
        steps=steps,
        warmup=warmup_of(job.settings, steps),
        lr=lr,
        tokens_per_micro_batch=tokens,
        recompute=recompute,
        peak_bytes=max(gather(memory.peak_bytes(job.engine.device))),
        seconds_per_token=seconds_per_token,
        ranks=ranks.size() if job.settings.tokens_per_micro_batch == "auto" else 1,
    )


def plan_beside(job: Job, plan: Plan, *, lr: float) -> Plan:
    """The plan of a job that trains together with one whose plan was measured.

    Its own settings for micro-batches apply; the loop takes the least memory of all.
    """
    settings, steps = job.settings, _steps(job, plan.seconds_per_token)
    changes: dict[str, object] = {}
    if settings.tokens_per_micro_batch != "auto":
        changes |= {"tokens_per_micro_batch": settings.tokens_per_micro_batch, "ranks": 1}
    if settings.recompute != "auto":
        changes["recompute"] = settings.recompute
    return replace(plan, steps=steps, warmup=warmup_of(settings, steps), lr=lr, **changes)  # type: ignore[arg-type]


def stream_tokens(job: Job) -> int:
    """Tokens of one of its largest steps, retention's included."""
    return job.streamed(_step_tokens(job))


def _step_tokens(job: Job) -> int:
    """Tokens of the rows of one of its largest steps."""
    settings = job.settings
    if settings.rows_per_step:
        return int(settings.rows_per_step * job.rows.lengths.max())
    return tokens_per_step(settings)


def _largest(job: Job, size: int, *, recompute: Recompute, now: Callable[[], float]) -> int:
    """Tokens up to ``size`` that fit into available memory by the trend of two small batches."""
    device = job.engine.device
    available = memory.available_bytes(device)
    if available is None:
        return size
    if device.type == "cpu":
        available //= ranks.local_size()
    before = memory.held_bytes(device)
    first, second = (
        _measure(job, min(size, n), recompute=recompute, now=now)
        for n in (FIRST_TOKENS, 2 * FIRST_TOKENS)
    )
    if first is None or second is None:
        return 0 if first is None else first.tokens
    slope = MARGIN * (second.peak_bytes - first.peak_bytes) / max(1, second.tokens - first.tokens)
    slope = max(slope, MARGIN * (second.peak_bytes - before) / second.tokens / 2)
    if slope <= 0:
        return size
    return int(min(size, second.tokens + (available - (second.peak_bytes - before)) / slope))


def _measure(
    job: Job, tokens: int, *, recompute: Recompute, now: Callable[[], float]
) -> _Try | None:
    """Forward and backward of the longest documents, about ``tokens`` of them, no step taken.

    None where memory ran out, which only some devices report.
    """
    measured = None
    try:
        measured = _tried(job, tokens, recompute=recompute, now=now)
    except (RuntimeError, MemoryError) as error:
        if not memory.has_run_out(error):
            raise
    if measured is None:
        job.adapter.refresh()  # drops what was not collected
        memory.release(job.engine.device)
    for parameter in job.adapter.trained.values():
        if parameter.grad is not None:
            parameter.grad.zero_()
    return measured


def _tried(job: Job, tokens: int, *, recompute: Recompute, now: Callable[[], float]) -> _Try:
    device = job.engine.device
    batch = job.batch(enumerate(_longest_documents(job, tokens)), step=0)
    start = now()
    hidden = job.engine.hidden_states(batch, recompute=recompute)
    loss_sum(hidden, batch, job.engine.head).backward()  # type: ignore[no-untyped-call]
    job.adapter.gather()
    seconds = elapsed(device, start, now)
    return _Try(len(batch.ids), memory.held_bytes(device), seconds)


def _longest_documents(job: Job, tokens: int) -> list[TokenRow]:
    """The longest rows until they have ``tokens`` tokens, the last one cut.

    Each predicts at least one token.
    """
    documents: list[TokenRow] = []
    for i in job.rows.lengths.argsort()[::-1].tolist():
        left = tokens - sum(len(document.ids) for document in documents)
        if left < 2:
            break
        row = job.rows[i]
        weights = row.weights[:left].copy()
        weights[-1] = 1.0
        documents.append(TokenRow(row.ids[:left], weights, row.file, row.line))
    return documents


def _steps(job: Job, seconds_per_token: float) -> int:
    """Steps of the run; minutes become steps by the measured speed, once and for all."""
    if job.settings.minutes is None:
        return total_steps(job.rows.lengths, job.settings, copies=job.copies)
    tokens = 60 * job.settings.minutes * ranks.size() / (seconds_per_token * job.settings.work)
    step, whole = float(_step_tokens(job)), int(job.rows.lengths.sum())
    if job.settings.rows_per_step:  # their mean, not the longest
        step = job.settings.rows_per_step * whole / len(job.rows)
    return max(1, round(tokens / min(step, whole)))


def _refusal(job: Job, needed: int, fits: int, *, recompute: Recompute) -> MemoryRefusal:
    available = memory.available_bytes(job.engine.device) or 0
    if needed > int(job.rows.lengths.max()):
        return MemoryRefusal(
            f"Micro-batches of {pluralize(needed, 'token')} do not fit into the "
            f"{available / 1e9:.1f} GB that are free; about {pluralize(max(0, fits), 'token')} "
            "would.",
            remedy="Set train.tokens_per_micro_batch to that or less, or to auto.",
        )
    return MemoryRefusal(
        f"A document of {pluralize(needed, 'token')} does not fit into the {available / 1e9:.1f} "
        f"GB that are free; about {pluralize(max(0, fits), 'token')} would.",
        remedy=f"Free memory, or use {takes_less(job, recompute=recompute, tokens=fits)}.",
    )
