"""The language-model head on labelled rows only, with its gradient made in the forward pass.

Full logits [T, V] never exist: M labelled rows are scored in chunks, and as the loss is the end
of the graph, each chunk's gradient is known at once and its logits can go.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.engine.autograd import Context, Gradients, accumulate_, apply
from tunesmith.engine.batch import PackedBatch

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


def loss_sum(hidden: Tensor, batch: PackedBatch, head: Head) -> Tensor:
    """Sum of the weighted negative log-likelihoods of the labelled rows, in nats; a scalar.

    ``hidden`` [T, D] are the last hidden states of the stream. Divide by the count of the whole
    optimizer step, so that micro-batches add up to the big batch.
    """
    rows = hidden.index_select(0, batch.label_rows)  # repeated rows add up deterministically
    loss: Tensor = apply(_Head, rows, head.weight, batch.labels, batch.weights, head)
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
    """-sum_i w_i log softmax(z_i)[label_i]; keeps the gradients of rows and weight only.

    The two chunk buffers are made once: fresh ones of this size cost as much in page faults as
    the arithmetic.
    """

    @staticmethod
    def forward(
        ctx: Context, rows: Tensor, weight: Tensor, labels: Tensor, weights: Tensor, head: Head
    ) -> Tensor:
        needs_rows, needs_weight, *_ = ctx.needs_input_grad
        compute = weight.to(rows.dtype)
        wide = torch.promote_types(rows.dtype, torch.float32)
        total = torch.zeros((), dtype=torch.float64, device=rows.device)
        g_rows = torch.empty_like(rows) if needs_rows else None
        g_weight = torch.zeros_like(weight, dtype=wide) if needs_weight else None
        size = chunk_rows(len(weight))
        shape = (min(size, len(rows)), len(weight))
        scores = torch.empty(shape, dtype=rows.dtype, device=rows.device)
        logs = scores if wide == rows.dtype else torch.empty(shape, dtype=wide, device=rows.device)
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
            if g_weight is not None:
                _add_outer_(g_weight, z, (h * w).to(rows.dtype))
        ctx.save_for_backward(g_rows)
        ctx.plan = (weight, g_weight)
        return total.to(wide)

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        (g_rows,) = ctx.saved_tensors
        weight, g_weight = ctx.plan
        if g_weight is not None:
            ctx.plan = (weight, None)
            accumulate_(weight, g_weight.mul_(g))
        rows = None if g_rows is None else g_rows * g.to(g_rows.dtype)
        return rows, None, None, None, None
