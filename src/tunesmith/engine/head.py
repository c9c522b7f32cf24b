"""The language-model head on labelled rows only, with its gradient made in the forward pass.

Full logits [T, V] never exist: M labelled rows are scored in chunks. As the loss is the end of the
graph, each chunk's gradient is computed directly and its logits are freed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from tunesmith.engine.autograd import Context, Gradients, apply, gradient_of
from tunesmith.engine.batch import PackedBatch
from tunesmith.engine.memory import Workspace
from tunesmith.engine.vocabulary import TokenRows

# Rows scored at once: for about this many scores, within the bounds; more are no faster, and fewer
# make the products slower.
CHUNK_SCORES, MIN_ROWS, MAX_ROWS = 2**24, 64, 256
BLOCK_TOKENS = 4096  # of the vocabulary, in the head's own gradient


@dataclass(frozen=True, slots=True)
class Head:
    """hidden [M, D] -> logits [M, V]: softcap * tanh(scale * h W^T / softcap)."""

    weight: Tensor  # [V, D]
    scale: float = 1.0
    softcap: float | None = None
    vocabularies: Mapping[str, TokenRows] = field(default_factory=dict)  # by adapter
    workspace: Workspace = field(default_factory=Workspace)
    base_weight: Tensor | None = None  # [V, D] of before, where the weight itself is trained

    @property
    def teacher(self) -> "Head":
        """The base's own head: without adapters, and as it was where it is trained."""
        weight = self.weight if self.base_weight is None else self.base_weight
        return replace(self, weight=weight, vocabularies={}, base_weight=None)

    def logits(self, hidden: Tensor, tokens: TokenRows | None = None) -> Tensor:
        """Scores by token id in the hidden states' dtype, [M, D] -> [M, V].

        With an adapter's ``tokens`` there may be more columns; ids that it lacks score -inf.
        """
        scores = self._project(hidden, self.weight)
        if tokens is None:
            return scores
        wide = scores.new_empty(len(hidden), self.width(tokens))
        return tokens.spread_(wide, scores, self._project(hidden, tokens.outputs))

    def width(self, tokens: TokenRows | None) -> int:
        """Columns of the scores."""
        return max(len(self.weight), tokens.width if tokens else 0)

    def _project(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return self.finish_(hidden @ weight.to(hidden.dtype).t())

    def finish_(self, scores: Tensor) -> Tensor:
        """Scale and cap plain products, in place."""
        if self.scale != 1.0:
            scores.mul_(self.scale)
        if self.softcap is not None:
            scores.div_(self.softcap).tanh_().mul_(self.softcap)
        return scores


def loss_sum(hidden: Tensor, batch: PackedBatch, head: Head, *, count: float = 1.0) -> Tensor:
    """Sum of all adapters' ``losses`` with one count; a scalar."""
    counts = dict.fromkeys((adapter for adapter, _, _ in batch.label_segments), count)
    found = losses(hidden, batch, head, counts=counts)
    # of the graph, also where no row is labelled
    zero = hidden[:0].sum(dtype=torch.promote_types(hidden.dtype, torch.float32))
    return sum(found.values(), start=zero)


def losses(
    hidden: Tensor, batch: PackedBatch, head: Head, *, counts: Mapping[str | None, float]
) -> dict[str | None, Tensor]:
    """Sums of the weighted negative log-likelihoods of each adapter's labelled rows, in nats.

    ``hidden`` [T, D] are the last hidden states of the stream; each sum is over the adapter's
    count. With the count of the whole optimizer step, micro-batches add up to the big batch. The
    loss is the end of the graph: where the head itself is trained, this call has added to its
    gradient before ``backward``.
    """

    def target(part: slice, adapter: str | None) -> _LabelTarget:
        return _LabelTarget(batch.labels[part], batch.weights[part] / counts[adapter])

    return _sums(hidden, batch.label_rows, batch.label_segments, head, target)


def divergences(
    hidden: Tensor, batch: PackedBatch, head: Head, *, weights: Mapping[str | None, float]
) -> dict[str | None, Tensor]:
    """Sums of KL(teacher || head) of the next token over each adapter's retained rows, in nats.

    Each is times the adapter's weight: 1 over the number of the whole optimizer step's retained
    rows makes means. Like ``losses`` it is the end of the graph. The teacher's probability is over
    the base's tokens; what an adapter's new tokens get is lost to them.
    """

    def target(part: slice, adapter: str | None) -> _TeacherTarget:
        states = batch.teacher_states[part]
        even = states.new_full((len(states),), weights[adapter], dtype=torch.float32)
        return _TeacherTarget(states, even, head.teacher)

    return _sums(hidden, batch.retained_rows, batch.retained_segments, head, target)


def _sums(
    hidden: Tensor,
    rows: Tensor,
    segments: Sequence[tuple[str | None, int, int]],
    head: Head,
    target: Callable[[slice, str | None], "_Target"],
) -> dict[str | None, Tensor]:
    """Each adapter's weighted sum over its part of some rows of the stream, against its target."""
    found: dict[str | None, Tensor] = {}
    for adapter, start, stop in segments:
        part = slice(start, stop)
        tokens = head.vocabularies.get(adapter or "")
        # index_select: gradients of repeated rows add up in the same order every time
        chosen = hidden.index_select(0, rows[part])
        outputs = None if tokens is None else tokens.outputs
        plan = _HeadPlan(head, tokens, target(part, adapter))
        loss = apply(_Head, chosen, head.weight, outputs, plan)
        found[adapter] = found[adapter] + loss if adapter in found else loss
    return found


def row_losses(hidden: Tensor, batch: PackedBatch, head: Head) -> Tensor:
    """Negative log-likelihood of each label, [M] in float32; no gradient."""
    found = [-logs.gather(1, label)[:, 0] for logs, label in _scored(hidden, batch, head)]
    return torch.cat([hidden.new_zeros(0, dtype=torch.float32), *found])


def losses_and_hits(hidden: Tensor, batch: PackedBatch, head: Head) -> tuple[Tensor, Tensor]:
    """``row_losses``, and whether each label is the most likely token, [M] bool."""
    losses = [hidden.new_zeros(0, dtype=torch.float32)]
    hits = [hidden.new_zeros(0, dtype=torch.bool)]
    for logs, label in _scored(hidden, batch, head):
        losses.append(-logs.gather(1, label)[:, 0])
        hits.append(logs.argmax(1) == label[:, 0])
    return torch.cat(losses), torch.cat(hits)


@torch.no_grad()
def _scored(hidden: Tensor, batch: PackedBatch, head: Head) -> Iterator[tuple[Tensor, Tensor]]:
    """Log-probabilities [n, W] in float32 and labels [n, 1] of some rows after others."""
    for adapter, start, stop in batch.label_segments:
        tokens = head.vocabularies.get(adapter or "")
        size = chunk_rows(head.width(tokens))
        rows = hidden.index_select(0, batch.label_rows[start:stop])
        labels = torch.split(batch.labels[start:stop], size)
        for chunk, target in zip(torch.split(rows, size), labels, strict=True):
            yield _log_softmax_(head.logits(chunk, tokens).float()), target[:, None]


def _log_softmax_(scores: Tensor) -> Tensor:
    return torch.log_softmax(scores, -1, out=scores)


def _add_outer_(total: Tensor, scores: Tensor, hidden: Tensor) -> None:
    """total [V, D] += scores [n, V]^T hidden [n, D], in blocks: no second [V, D] in any format."""
    for start in range(0, len(total), BLOCK_TOKENS):
        block = slice(start, start + BLOCK_TOKENS)
        total[block] += scores[:, block].t() @ hidden


def chunk_rows(vocabulary: int) -> int:
    """Rows of hidden states that are scored at once for a vocabulary of this size."""
    return max(MIN_ROWS, min(MAX_ROWS, CHUNK_SCORES // vocabulary))


class _Target(Protocol):
    """What M rows are scored against."""

    @property
    def weights(self) -> Tensor:
        """What each row counts."""

    def losses(self, part: slice, logs: Tensor) -> Tensor:
        """The losses [n] of some rows, by the log-probabilities [n, W] that they were given."""

    def subtract_(self, part: slice, probabilities: Tensor) -> None:
        """Turn probabilities [n, W] into the gradient of these losses by the scores."""


@dataclass(frozen=True, slots=True)
class _LabelTarget:
    """One token for each row, [M]."""

    labels: Tensor
    weights: Tensor

    def losses(self, part: slice, logs: Tensor) -> Tensor:
        return -logs.gather(1, self.labels[part, None])[:, 0]

    def subtract_(self, part: slice, probabilities: Tensor) -> None:
        target = self.labels[part, None]
        probabilities.scatter_add_(1, target, probabilities.new_full(target.shape, -1.0))


@dataclass(slots=True)
class _TeacherTarget:
    """A distribution for each row: what the ``teacher`` makes of its states [M, D]."""

    states: Tensor
    weights: Tensor
    teacher: Head
    probabilities: Tensor | None = None  # of the part whose losses were asked for last

    def losses(self, part: slice, logs: Tensor) -> Tensor:
        base = self.teacher.logits(self.states[part]).to(logs.dtype)
        logs, base = logs[:, : base.shape[1]], _log_softmax_(base)
        self.probabilities = base.exp()
        return base.sub_(logs).mul_(self.probabilities).sum(1)

    def subtract_(self, part: slice, probabilities: Tensor) -> None:
        assert self.probabilities is not None, f"the losses of {part} come first"
        probabilities[:, : self.probabilities.shape[1]].sub_(self.probabilities)


@dataclass(frozen=True, slots=True)
class _HeadPlan:
    """What a run of rows is scored against."""

    head: Head
    tokens: TokenRows | None
    target: _Target


class _Own:
    """An adapter's own tokens in one call: their table [K, D] as it is multiplied, its gradient."""

    def __init__(self, tokens: TokenRows, *, narrow: torch.dtype, wide: torch.dtype) -> None:
        self.tokens = tokens
        self.table = tokens.outputs.detach().to(narrow)
        self.grad = torch.zeros_like(self.table, dtype=wide)

    def take_(self, g: Tensor, scaled: Tensor) -> Tensor:
        """Their part of the rows' gradient; zeros in ``g`` [n, V], as the base's rows have none."""
        mine = g.index_select(1, self.tokens.ids).to(self.table.dtype)
        self.grad += mine.t() @ scaled
        g.index_fill_(1, self.tokens.ids, 0.0)
        return mine @ self.table


class _Head(torch.autograd.Function):
    """sum_i w_i loss_i(log softmax(z_i)); keeps the gradients of rows and own tokens only.

    The loss is the cross-entropy with a label, or the divergence from a distribution.

    All large buffers come from the head's workspace: fresh ones cost as much in page faults as the
    arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Context, rows: Tensor, weight: Tensor, outputs: Tensor | None, plan: _HeadPlan
    ) -> Tensor:
        needs_rows, needs_weight, *_ = ctx.needs_input_grad
        head, narrow, device, lend = plan.head, rows.dtype, rows.device, plan.head.workspace
        wide = torch.promote_types(narrow, torch.float32)
        exact = wide if device.type == "mps" else torch.float64  # which that lacks
        total = torch.zeros((), dtype=exact, device=device)
        g_rows = torch.empty_like(rows) if needs_rows else None
        own = _Own(plan.tokens, narrow=narrow, wide=wide) if plan.tokens else None
        cast = weight.dtype != narrow
        compute = lend.take(weight.shape, narrow, device).copy_(weight) if cast else weight
        size, width = chunk_rows(head.width(plan.tokens)), head.width(plan.tokens)
        scores = lend.take((size, len(weight)), narrow, device)
        alike = (width, wide) == (len(weight), narrow)
        logs = scores if alike else lend.take((size, width), wide, device)
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            h, w = rows[part], plan.target.weights[part, None].to(wide)
            z, g = scores[: len(h)], logs[: len(h)]
            head.finish_(torch.mm(h, compute.t(), out=z))
            own.tokens.spread_(g, z, head.finish_(h @ own.table.t())) if own else g.copy_(z)
            slope = None if head.softcap is None else 1 - (g / head.softcap) ** 2
            _log_softmax_(g)
            total += (plan.target.losses(part, g)[:, None] * w).sum()
            if not any(ctx.needs_input_grad):
                continue
            plan.target.subtract_(part, g.exp_())
            if slope is not None:
                g.mul_(slope)
            w = w * head.scale  # not in place: it may be a view of the batch
            scaled = (h * w).to(narrow)
            extra = own.take_(g, scaled) if own else 0.0
            z.copy_(g[:, : len(weight)])
            if g_rows is not None:
                g_rows[part] = (z @ compute + extra) * w
            if needs_weight:
                _add_outer_(gradient_of(weight), z, scaled)
        lend.give(scores, logs, *([compute] if cast else []))
        ctx.save_for_backward(g_rows, own.grad if own else None)
        ctx.plan = (needs_weight, outputs)
        return total.to(wide)

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        (g_rows, g_own), (needs_weight, outputs) = ctx.saved_tensors, ctx.plan
        if needs_weight and g.device.type == "cpu" and g != 1:  # elsewhere it would be waited for
            raise RuntimeError("The loss of a head that is trained is the end of the graph.")
        rows = None if g_rows is None else g_rows * g.to(g_rows.dtype)
        own = None if g_own is None else (g_own * g.to(g_own.dtype)).to(outputs.dtype)
        return rows, None, own, None
