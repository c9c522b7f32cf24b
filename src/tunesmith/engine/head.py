"""The language-model head on labelled rows only, with its gradient made in the forward pass.

Full logits [T, V] never exist: M labelled rows are scored in chunks, and as the loss is the end
of the graph, each chunk's gradient is known at once and its logits can go.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tunesmith.engine.autograd import Context, Gradients, apply, gradient_of
from tunesmith.engine.batch import PackedBatch
from tunesmith.engine.workspace import Workspace

# Rows scored at once: as many as give about this many scores, within the bounds; more are no
# faster, and fewer lose the products' speed.
CHUNK_SCORES, FEWEST_ROWS, MOST_ROWS = 2**24, 64, 256
BLOCK_TOKENS = 4096  # of the vocabulary, in the head's own gradient


@dataclass(frozen=True, slots=True)
class Head:
    """hidden [M, D] -> logits [M, V]: softcap * tanh(scale * h W^T / softcap)."""

    weight: Tensor  # [V, D]
    scale: float = 1.0
    softcap: float | None = None
    workspace: Workspace = field(default_factory=Workspace)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every token in the hidden states' dtype, [M, D] -> [M, V]."""
        return self.finish_(hidden @ self.weight.to(hidden.dtype).t())

    def finish_(self, scores: Tensor) -> Tensor:
        """Scale and cap plain products, in place."""
        if self.scale != 1.0:
            scores.mul_(self.scale)
        if self.softcap is not None:
            scores.div_(self.softcap).tanh_().mul_(self.softcap)
        return scores


def loss_sum(hidden: Tensor, batch: PackedBatch, head: Head, *, count: float = 1.0) -> Tensor:
    """Sum of the weighted negative log-likelihoods of the labelled rows over ``count``; a scalar.

    ``hidden`` [T, D] are the last hidden states of the stream; nats. With the count of the whole
    optimizer step, micro-batches add up to the big batch. The loss is the end of the graph: where
    the head itself is trained, this call has added to its gradient before ``backward``.
    """
    rows = hidden.index_select(0, batch.label_rows)  # repeated rows add up deterministically
    weights = batch.weights / count
    loss: Tensor = apply(_Head, rows, head.weight, batch.labels, weights, head)
    return loss


@torch.no_grad()
def row_losses(hidden: Tensor, batch: PackedBatch, head: Head) -> Tensor:
    """Negative log-likelihood of each label, [M] in float32; no gradient."""
    rows = hidden.index_select(0, batch.label_rows)
    size = chunk_rows(len(head.weight))
    parts = [
        -_log_softmax_(head.logits(chunk).float()).gather(1, target[:, None])[:, 0]
        for chunk, target in zip(
            torch.split(rows, size), torch.split(batch.labels, size), strict=True
        )
    ]
    return torch.cat(parts) if parts else rows.new_zeros(0, dtype=torch.float32)


def _log_softmax_(scores: Tensor) -> Tensor:
    return torch.log_softmax(scores, -1, out=scores)


def _add_outer_(total: Tensor, scores: Tensor, hidden: Tensor) -> None:
    """total [V, D] += scores [n, V]^T hidden [n, D], in blocks: no second [V, D] in any format."""
    for start in range(0, len(total), BLOCK_TOKENS):
        block = slice(start, start + BLOCK_TOKENS)
        total[block] += scores[:, block].t() @ hidden


def chunk_rows(vocabulary: int) -> int:
    """Rows of hidden states that are scored at once for a vocabulary of this size."""
    return max(FEWEST_ROWS, min(MOST_ROWS, CHUNK_SCORES // vocabulary))


class _Head(torch.autograd.Function):
    """-sum_i w_i log softmax(z_i)[label_i]; keeps the gradient of rows only.

    All large buffers come from the head's workspace: fresh ones cost as much in page faults as the
    arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Context, rows: Tensor, weight: Tensor, labels: Tensor, weights: Tensor, head: Head
    ) -> Tensor:
        needs_rows, needs_weight, *_ = ctx.needs_input_grad
        lend, narrow = head.workspace, rows.dtype
        wide = torch.promote_types(narrow, torch.float32)
        total = torch.zeros((), dtype=torch.float64, device=rows.device)
        g_rows = torch.empty_like(rows) if needs_rows else None
        cast = weight.dtype != narrow
        compute = lend.take(weight.shape, narrow, rows.device).copy_(weight) if cast else weight
        size = chunk_rows(len(weight))
        scores = lend.take((size, len(weight)), narrow, rows.device)
        logs = scores if wide == narrow else lend.take(scores.shape, wide, rows.device)
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            h, target, w = rows[part], labels[part, None], weights[part, None].to(wide)
            z, g = scores[: len(h)], logs[: len(h)]
            head.finish_(torch.mm(h, compute.t(), out=z))
            slope = None if head.softcap is None else 1 - (z.to(wide) / head.softcap) ** 2
            _log_softmax_(g.copy_(z))
            total -= (g.gather(1, target) * w).sum()
            if not (needs_rows or needs_weight):
                continue
            g.exp_().scatter_add_(1, target, g.new_full(target.shape, -1.0))
            if slope is not None:
                g.mul_(slope)
            z.copy_(g)
            w = w * head.scale  # not in place: it may be a view of the batch
            if g_rows is not None:
                g_rows[part] = (z @ compute) * w
            if needs_weight:
                _add_outer_(gradient_of(weight), z, (h * w).to(narrow))
        lend.give(scores, logs, *([compute] if cast else []))
        ctx.save_for_backward(g_rows)
        ctx.plan = needs_weight
        return total.to(wide)

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        (g_rows,) = ctx.saved_tensors
        if ctx.plan and g != 1:
            raise RuntimeError("The loss of a head that is trained is the end of the graph.")
        rows = None if g_rows is None else g_rows * g.to(g_rows.dtype)
        return rows, None, None, None, None
