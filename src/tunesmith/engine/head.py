"""The language-model head on labelled rows only, with its gradient made in the forward pass.

Full logits [T, V] never exist: M labelled rows are scored in chunks, and as the loss is the end
of the graph, each chunk's gradient is known at once and its logits can go.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.engine.autograd import Context, Gradients, apply
from tunesmith.engine.batch import PackedBatch

CHUNK_ROWS = 256


@dataclass(frozen=True, slots=True)
class Head:
    """hidden [M, D] -> logits [M, V]: softcap * tanh(scale * h W^T / softcap)."""

    weight: Tensor  # [V, D]
    scale: float = 1.0
    softcap: float | None = None

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every token in the hidden states' dtype, [M, D] -> [M, V]."""
        weight = self.weight.to(hidden.dtype)
        scores = hidden @ weight.t()
        if self.scale != 1.0:
            scores *= self.scale
        if self.softcap is not None:
            scores = torch.tanh_(scores.div_(self.softcap)).mul_(self.softcap)
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
    parts = [
        _log_normaliser_and_target(head.logits(chunk).float(), target)
        for chunk, target in zip(
            torch.split(rows, CHUNK_ROWS), torch.split(batch.labels, CHUNK_ROWS), strict=True
        )
    ]
    return torch.cat([z - t for z, t in parts]) if parts else rows.new_zeros(0, dtype=torch.float32)


def _log_normaliser_and_target(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return logits.logsumexp(-1), logits.gather(1, labels[:, None])[:, 0]


class _Head(torch.autograd.Function):
    """sum_i w_i (logsumexp(z_i) - z_i[label_i]); keeps the gradients of rows and weight only."""

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
        for start in range(0, len(rows), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            h, target, w = rows[part], labels[part], weights[part].to(wide)
            logits = head.logits(h).to(wide)
            z, t = _log_normaliser_and_target(logits, target)
            total += ((z - t) * w).sum()
            if g_rows is None and g_weight is None:
                continue
            slope = _cap_slope(logits, head)
            g = logits.sub_(z[:, None]).exp_()
            g.scatter_add_(1, target[:, None], g.new_full((len(target), 1), -1.0))
            if slope is not None:
                g.mul_(slope)
            g = g.to(rows.dtype)
            w = (w * head.scale)[:, None]
            if g_rows is not None:
                g_rows[part] = ((g @ compute) * w).to(rows.dtype)
            if g_weight is not None:
                g_weight += g.t() @ (h * w).to(rows.dtype)
        ctx.save_for_backward(g_rows, g_weight)
        return total.to(wide)

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        g_rows, g_weight = ctx.saved_tensors
        return (
            None if g_rows is None else g_rows * g.to(g_rows.dtype),
            None if g_weight is None else g_weight.mul_(g),
            None,
            None,
            None,
        )


def _cap_slope(logits: Tensor, head: Head) -> Tensor | None:
    """d capped / d plain logits = 1 - (capped / softcap)^2."""
    return None if head.softcap is None else 1 - (logits / head.softcap) ** 2
