"""The gradients of a round: its micro-batches, and smaller ones where memory runs out.

Ranks divide the micro-batches among them; each has the same gradients, losses and plans in the end.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn

from tunesmith.config.methods import first_kind
from tunesmith.config.run import RECOMPUTE, Recompute
from tunesmith.core import ranks
from tunesmith.core.errors import MemoryRefusal
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Notice
from tunesmith.core.rank_sum import sum_over_ranks_
from tunesmith.core.ranks import gather
from tunesmith.engine import memory
from tunesmith.engine.autograd import gradient_of
from tunesmith.engine.batch import Dropout, PackedBatch
from tunesmith.engine.head import divergences, losses
from tunesmith.engine.pack import Row
from tunesmith.engine.shard import clip_
from tunesmith.training.job import SHARE_TOKENS, Job, Round, pack_for
from tunesmith.training.loss_scale import halve_, overflowed, scale_now, unscale_
from tunesmith.training.steps import Plan, StepRows, micro_batches
from tunesmith.training.tree import KEEP, MERGE, PartialSums, order_of, own_part

Stream = list[tuple[Round, StepRows]]  # documents of some members that are computed together


@dataclass(frozen=True, slots=True)
class StepLoss:
    """Means over a step, in nats: of its rows' supervised tokens, and of retention's tokens; and
    the norm of its gradient before that was clipped. ``peak_bytes``: of the rank that took most.
    """

    task: float
    norm: float
    divergence: float | None = None
    peak_bytes: int = 0


def add_gradients(
    going: Sequence[Round],
) -> tuple[dict[Round, StepLoss], list[tuple[Round, Notice]]]:
    """Add the gradients of each member's mean loss over its step, clipped; these losses, and what
    to report. The device is waited for once, when all of it is done.

    Where a stream does not fit into memory the step is done again from its start with half the
    micro-batches' tokens, which stay so for the rest of the run: the loss is over the whole step
    and dropout is keyed by row, so the result is the same. A member with one document that does not
    fit gets an ``error`` and no loss; the others continue without it. Where float16 overflows in
    backward, a member's step is done again with half its loss scale.
    """
    left = list(going)
    found: dict[Round, StepLoss] = {}
    notices: list[tuple[Round, Notice]] = []
    while left:
        streams = streams_of(left, tokens=_budget(left))
        sums, own_failed = _add(streams, left)
        _even_out(len(streams), left[0])
        failed = min((n for n in gather(own_failed) if n is not None), default=None)
        if failed is None:
            sum_over_ranks_(_gradients_of(left))
            found |= _read(sums, left)
            left = [
                each
                for each in left
                if overflowed(each, loss=found[each].task, norm=found[each].norm)
            ]
            for each in left:
                del found[each]
                notices.append((each, halve_(each)))
            continue
        for each in left:
            each.member.drop_gradients()
        memory.release(left[0].member.job.engine.device)
        notices += _back_off(left, streams[failed])
        left = [each for each in left if each.member.error is None]
    return found, notices


def _budget(going: Sequence[Round]) -> int:
    return min(each.member.plan.tokens_per_micro_batch for each in going)


Sums = dict[str | None, list[Tensor]]  # by adapter, of each stream


def _add(streams: Sequence[Stream], going: Sequence[Round]) -> tuple[tuple[Sums, Sums], int | None]:
    """This rank's parts of each loss, scaled; and which stream did not fit, if one did not."""
    counts: dict[str | None, float] = {}
    weights: dict[str | None, float] = {}
    balance: dict[str | None, float] = {}
    for each in going:
        job, scale = each.member.job, scale_now(each)
        counts[job.name] = sum(float(job.document(i).weights.sum()) for i in each.rows) / scale
        if job.retention is not None:
            positions = sum(map(job.length, each.retained))
            weights[job.name] = scale * job.retention.kl_weight / positions
        if job.settings.load_balance:
            balance[job.name] = scale * job.balance_weight((*each.rows, *each.retained))
    task: Sums = {name: [] for name in counts}
    kept: Sums = {name: [] for name in weights}
    part, engine = own_part(len(streams)), going[0].member.job.engine
    batches = _batches([streams[i] for i in part], engine.device)
    sums = PartialSums(_in_tree(going))
    for number in order_of(part):
        if number in (KEEP, MERGE):
            sums.do(number)
            continue
        found = None
        try:
            batch = replace(next(batches), balance=balance)
            found = _add_stream(streams[number], batch, counts, weights)
        except (RuntimeError, MemoryError) as error:
            _require_less_memory_helps(error, going, streams[number])
        if found is None:  # after the handler, whose error keeps all frames and their tensors
            batches.close()
            return (task, kept), number
        for total, added in zip((task, kept), found, strict=True):
            for name, loss in added.items():
                total[name].append(loss.detach())
    return (task, kept), None


def _even_out(count: int, each: Round) -> None:
    """Passes that change no gradient: over a sharded base all ranks make equally many.

    ``count`` streams are those of all ranks.
    """
    job = each.member.job
    if not job.engine.is_sharded:
        return
    ids = job.document(each.rows[0]).ids[:2].tolist()
    for _ in range(-(-count // ranks.size()) - len(own_part(count))):
        batch = pack_for(job.engine, [Row(ids, [0.0, 1.0], job.name, 0)], {})
        batch = batch.to(job.engine.device)
        hidden = job.engine.hidden_states(batch, recompute=each.member.plan.recompute)
        (loss,) = losses(hidden, batch, job.engine.head, counts={job.name: math.inf}).values()
        loss.backward()  # type: ignore[no-untyped-call]


def _in_tree(going: Sequence[Round]) -> list[nn.Parameter]:
    """What is summed in a tree: not where the base itself is trained, which has no room for it."""
    adapters = [each.member.job.adapter for each in going]
    return [p for adapter in adapters if adapter.frozen_base for p in adapter.summed]


def _gradients_of(going: Sequence[Round]) -> list[Tensor]:
    """What the streams added to."""
    return [gradient_of(p) for each in going for p in each.member.job.adapter.summed]


def _batches(streams: Sequence[Stream], device: torch.device) -> Generator[PackedBatch]:
    """Each stream packed; on an accelerator the next one in a thread while one is computed."""
    if device.type == "cpu":
        yield from map(_packed, streams)
        return
    if not streams:
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(_packed, streams[0])
        for after in (*streams[1:], None):
            batch = coming.result()
            if after is not None:
                coming = pool.submit(_packed, after)
            yield batch.to(device)


def _packed(parts: Stream) -> PackedBatch:
    """A stream on the CPU; the load-balance loss is of whole documents, which share nothing."""
    rows: list[Row] = []
    balanced = any(each.member.job.settings.load_balance for each, _ in parts)
    dropout: dict[str | None, Dropout] = {}
    for each, group in parts:
        job = each.member.job
        rows += job.packable(group)
        dropout |= job.dropout(each.member.state.step)
    engine = parts[0][0].member.job.engine
    return pack_for(engine, rows, dropout, share=0 if balanced else SHARE_TOKENS)


def _add_stream(
    parts: Stream,
    batch: PackedBatch,
    counts: Mapping[str | None, float],
    weights: Mapping[str | None, float],
) -> tuple[dict[str | None, Tensor], dict[str | None, Tensor]]:
    """Forward and backward of one stream; its parts of each member's loss, and of retention's."""
    engine = parts[0][0].member.job.engine
    recompute = max((each.member.plan.recompute for each, _ in parts), key=RECOMPUTE.index)
    hidden = engine.hidden_states(batch, recompute=recompute)
    found = losses(hidden, batch, engine.head, counts=counts)
    kept = divergences(hidden, batch, engine.head, weights=weights)
    terms = [*found.values(), *kept.values()]
    if terms:  # not where no token counts
        sum(terms, start=hidden.new_zeros(())).backward()  # type: ignore[no-untyped-call]
    return found, kept


def _read(sums: tuple[Sums, Sums], going: Sequence[Round]) -> dict[Round, StepLoss]:
    """The step's losses, its gradients collected and clipped: the one read of its numbers."""
    norms = [_finish(each) for each in going]
    parts = [loss for total in sums for of_one in total.values() for loss in of_one]
    numbers = iter(torch.stack([*norms, *parts]).tolist())
    norm = {each: next(numbers) for each in going}
    own = [{name: [next(numbers) for _ in of_one] for name, of_one in t.items()} for t in sums]
    shares = gather(own)
    peak = max(gather(memory.peak_bytes(going[0].member.job.engine.device)))
    task, kept = (
        # from left to right, as sum() does not in every Python
        {name: reduce(add, (x for share in shares for x in share[i][name]), 0.0) for name in total}
        for i, total in enumerate(sums)
    )
    found = {}
    for each in going:
        job, scale = each.member.job, scale_now(each)
        divergence = None
        if job.retention:
            divergence = kept[job.name] / scale / job.retention.kl_weight
        found[each] = StepLoss(task[job.name] / scale, norm[each], divergence, peak)
    return found


def _finish(each: Round) -> Tensor:
    """Collect a member's gradients, without the loss scale, and clip them; their norm before."""
    job = each.member.job
    job.adapter.gather()
    unscale_(each)
    limit = job.settings.max_grad_norm or math.inf
    return clip_(job.adapter.trained.values(), limit)


def streams_of(going: Sequence[Round], *, tokens: int) -> list[Stream]:
    """The micro-batches of a round: each member's own, small ones of several in one stream."""
    streams: list[Stream] = []
    sizes: list[int] = []
    for each in going:
        documents = (*each.rows, *each.retained)
        lengths = {i: each.member.job.length(i) for i in documents}
        over = each.member.plan.ranks
        for group in micro_batches(documents, lengths, tokens=tokens, ranks=over):
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


def _require_less_memory_helps(error: Exception, going: Sequence[Round], failed: Stream) -> None:
    """Raise what is no lack of memory, and MemoryRefusal over a sharded base: there the others
    wait within the pass that failed.
    """
    if not memory.has_run_out(error):
        raise error
    if not going[0].member.job.engine.is_sharded:
        return
    documents = [each.member.job.length(i) for each, group in failed for i in group]
    job, plan = failed[0][0].member.job, failed[0][0].member.plan
    fewer = f"--train.tokens_per_micro_batch {max(max(documents), _budget(going) // 2)}"
    less = (
        fewer
        if len(documents) > 1
        else takes_less(job, recompute=plan.recompute, tokens=documents[0] // 2)
    )
    raise MemoryRefusal(
        f"Step {failed[0][0].member.state.step + 1}: memory ran out on this rank in a micro-batch "
        f"of {pluralize(sum(documents), 'token')}, while the others waited for its part of the "
        "sharded base.",
        remedy=f"Start again with {less}, or with more ranks.",
    )


def takes_less(job: Job, *, recompute: Recompute, tokens: int) -> str:
    """What takes less memory than a job does with this recomputation, for people.

    ``tokens``: how long documents may be.
    """
    ways = [f"--data.overflow truncate --data.max_tokens {max(2, tokens)}"]
    if recompute != "layers":
        ways.insert(0, "--train.recompute layers")
    if not any(linear.is_four_bit for linear in job.engine.linears.values()):
        ways.append(f"--method {first_kind(four_bit=True)}")
    return f"{', '.join(ways)} or a smaller base"
