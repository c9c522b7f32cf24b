"""The gradients of a round: its micro-batches, and smaller ones where memory runs out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from tunesmith.config.methods import first_kind
from tunesmith.config.run import RECOMPUTE, Recompute
from tunesmith.core.errors import MemoryRefusal
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Notice
from tunesmith.engine import memory
from tunesmith.engine.batch import Dropout
from tunesmith.engine.head import divergences, losses
from tunesmith.engine.pack import Row
from tunesmith.training.job import Job, Round, stream_of
from tunesmith.training.steps import Plan, StepRows, micro_batches

Stream = list[tuple[Round, StepRows]]  # documents of some members that are computed together


@dataclass(frozen=True, slots=True)
class StepLoss:
    """Means over a step, in nats: of its rows' supervised tokens, and of retention's tokens."""

    task: float
    divergence: float | None = None


def add_gradients(
    going: Sequence[Round],
) -> tuple[dict[Round, StepLoss], list[tuple[Round, Notice]]]:
    """Add the gradients of each member's mean loss over its step; these losses, and what to report.

    Where a stream does not fit into memory the step is done again from its start with half the
    micro-batches' tokens, which stay so for the rest of the run: the loss is over the whole step
    and dropout is keyed by row, so the result is the same. A member with one document that does not
    fit gets an ``error`` and no loss; the others continue without it.
    """
    left = list(going)
    notices: list[tuple[Round, Notice]] = []
    while left:
        streams = streams_of(left, tokens=_budget(left))
        found, failed = _add(streams, left)
        if not failed:
            for each in left:
                each.member.job.adapter.gather()
            return found, notices
        for each in left:
            each.member.drop_gradients()
        memory.release(left[0].member.job.engine.device)
        notices += _back_off(left, failed)
        left = [each for each in left if each.member.error is None]
    return {}, notices


def _budget(going: Sequence[Round]) -> int:
    return min(each.member.plan.tokens_per_micro_batch for each in going)


def _add(streams: Sequence[Stream], going: Sequence[Round]) -> tuple[dict[Round, StepLoss], Stream]:
    """Losses over the whole step, and the stream that did not fit into memory, if one did not."""
    jobs = {each.member.job.name: each.member.job for each in going}
    counts, weights = {}, {}
    for each in going:
        job = each.member.job
        counts[job.name] = sum(float(job.document(i).weights.sum()) for i in each.rows)
        if job.retention is not None:
            positions = sum(map(job.length, each.retained))
            weights[job.name] = job.retention.kl_weight / positions
    task, kept = dict.fromkeys(jobs, 0.0), dict.fromkeys(weights, 0.0)
    for parts in streams:
        found = None
        try:
            found = _add_stream(parts, counts, weights)
        except (RuntimeError, MemoryError) as error:
            if not memory.has_run_out(error):
                raise
        if found is None:  # after the handler, whose error keeps all frames and their tensors
            return {}, parts
        for total, added in zip((task, kept), found, strict=True):
            for name, loss in added.items():
                total[name] += loss
    losses_of = {}
    for each in going:
        job = each.member.job
        divergence = kept[job.name] / job.retention.kl_weight if job.retention else None
        losses_of[each] = StepLoss(task[job.name], divergence)
    return losses_of, []


Sums = dict[str | None, float]


def _add_stream(parts: Stream, counts: Sums, weights: Sums) -> tuple[Sums, Sums]:
    """Forward and backward of one stream; its parts of each member's loss, and of retention's."""
    rows: list[Row] = []
    dropout: dict[str | None, Dropout] = {}
    for each, group in parts:
        job = each.member.job
        rows += job.packable(group)
        dropout |= job.dropout(each.member.state.step)
    engine = parts[0][0].member.job.engine
    recompute = max((each.member.plan.recompute for each, _ in parts), key=RECOMPUTE.index)
    batch = stream_of(engine, rows, dropout)
    hidden = engine.hidden_states(batch, recompute=recompute)
    found = losses(hidden, batch, engine.head, counts=counts)
    kept = divergences(hidden, batch, engine.head, weights=weights)
    terms = [*found.values(), *kept.values()]
    if terms:  # not where no token counts
        sum(terms, start=hidden.new_zeros(())).backward()  # type: ignore[no-untyped-call]
    return _numbers(found), _numbers(kept)


def _numbers(found: Mapping[str | None, Tensor]) -> Sums:
    return {name: float(loss.detach()) for name, loss in found.items()}


def streams_of(going: Sequence[Round], *, tokens: int) -> list[Stream]:
    """The micro-batches of a round: each member's own, small ones of several in one stream."""
    streams: list[Stream] = []
    sizes: list[int] = []
    for each in going:
        documents = (*each.rows, *each.retained)
        lengths = {i: each.member.job.length(i) for i in documents}
        for group in micro_batches(documents, lengths, tokens=tokens):
            size = sum(lengths[i] for i in group)
            room = [
                number
                for number, parts in enumerate(streams)
                if sizes[number] + size <= tokens and all(other is not each for other, _ in parts)
            ]
            if room:
                streams[room[0]].append((each, group))
                sizes[room[0]] += size
            else:
                streams.append([(each, group)])
                sizes.append(size)
    return streams


def _back_off(going: Sequence[Round], failed: Stream) -> list[tuple[Round, Notice]]:
    """Plans of which the failed stream is no part any more, kept in the run folders.

    For a single document that is recomputation, where the settings leave it open; else its member
    gets an error.
    """
    first, _ = failed[0]
    before = _budget(going)
    if sum(len(group) for _, group in failed) > 1:
        tokens = before // 2
        while failed in streams_of(going, tokens=tokens):
            tokens //= 2
        changes: dict[str, object] = {"tokens_per_micro_batch": tokens}
        what = f"micro-batches of {pluralize(tokens, 'token')} in place of {before:,} from now on"
    elif first.member.job.settings.recompute == "auto" and (more := _more(first.member.plan)):
        changes = {"recompute": more}
        what = f"{more} are computed again in backward from now on"
    else:
        first.member.error = _refusal(failed)
        return []
    notices = []
    for each in going:
        each.member.plan = replace(each.member.plan, **changes)  # type: ignore[arg-type]
        each.member.job.keep_plan(each.member.plan)
        text = f"step {each.member.state.step + 1} did not fit into memory: {what}"
        notices.append((each, Notice("back_off", text)))
    return notices


def _more(plan: Plan) -> Recompute | None:
    """The next thing to compute again in backward; None where nothing is left."""
    return next(iter(RECOMPUTE[RECOMPUTE.index(plan.recompute) + 1 :]), None)


def _refusal(failed: Stream) -> MemoryRefusal:
    (each, (number,)), *_ = failed
    job, row = each.member.job, each.member.job.document(number)
    smaller = takes_less(job, recompute=each.member.plan.recompute, tokens=len(row.ids) // 2)
    state = each.member.state.step
    now = "Free memory, or start"
    if state:
        now = f"Free memory and continue with --resume (step {state} is saved), or start"
    return MemoryRefusal(
        f"Step {state + 1}: memory ran out on one document of {pluralize(len(row.ids), 'token')}, "
        f"{row.file}:{row.line}.",
        remedy=f"{now} again with {smaller}.",
    )


def takes_less(job: Job, *, recompute: Recompute, tokens: int) -> str:
    """What takes less memory than a job does with this recomputation, for people.

    ``tokens``: how long documents may be.
    """
    ways = [f"--data.overflow truncate --data.max_tokens {max(2, tokens)}"]
    if recompute != "layers":
        ways.insert(0, "--train.recompute layers")
    if not any(linear.four_bit for linear in job.engine.linears.values()):
        ways.append(f"--method {first_kind(four_bit=True)}")
    return f"{', '.join(ways)} or a smaller base"
