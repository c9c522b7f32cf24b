"""A recurrent state over a packed stream: which state each document begins with.

That is the one after its prefix: after the shared span before it, or kept from an earlier call; of
a document without a prefix it is zeros. Documents with as many spans before them and of about the
same length are computed at once, padded to the longest.

Shapes: K taps of a causal convolution over C channels; a group has B documents of up to S rows.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.activations import ACT2FN

from tunesmith.engine.autograd import Context, Gradients, apply
from tunesmith.engine.batch import current_stream, recomputes_activations
from tunesmith.engine.state_layout import joined, layout_of, take

Parts = Sequence[Tensor]
Scan = Callable[[Parts, Tensor | None, bool], tuple[Tensor, Tensor | None]]
"""Parts [B, S, ..], states [B, ..] (None: zeros) and whether the states afterwards are needed, to
outputs [B, S, ..] and those states. Rows of zeros at the end must leave a state as it is."""


def over_documents(module: Any, mixed: Tensor, others: Parts, scan: Scan | None) -> Tensor:
    """The outputs [T, ..] of a layer with a state: its convolution, then ``scan`` by groups.

    ``mixed`` [T, C] is what the convolution reads; what it makes of it, and ``others`` [T, ..], are
    the parts. Without a scan the convolution is all. Raises RuntimeError for a prefix whose state
    is not known.
    """
    layer, convolution = int(module.layer_idx), convolution_of(module)
    layout = layout_of(current_stream(), convolution.kernel_size[0])
    kept = [slots.read(layer) for slots in layout.kept]
    earlier = [inputs.flatten(0, 1) for inputs, _ in kept]
    rows = torch.cat([mixed.new_zeros(1, mixed.shape[1]), *earlier, mixed])
    filtered = apply(_Convolution, take(rows, layout.rows), convolution.weight, convolution.bias)
    outputs = take(filtered, layout.own)
    if scan is None:
        for slots, tails, _ in layout.keeps:
            slots.write_(layer, rows.detach()[tails], rows.new_zeros(len(tails), 0))
        return outputs
    parts = (ACT2FN[module.activation](outputs), *others)
    states, made = [state for _, state in kept], []
    for group in layout.groups:
        before = None if group.before is None else take(joined(states), group.before)
        y, after = _run(scan, tuple(map(group.gather, parts)), before, group.handed_on)
        made.append(group.flatten(y))
        if after is not None:
            states.append(after)
    for slots, tails, ends in layout.keeps:
        slots.write_(layer, rows.detach()[tails], take(joined(states), ends).detach())
    return take(joined(made), layout.order)


def convolution_of(module: nn.Module) -> nn.Conv1d:
    """The causal convolution of a layer."""
    return next(child for child in module.children() if isinstance(child, nn.Conv1d))


def _run(
    scan: Scan, parts: Parts, before: Tensor | None, handed_on: bool
) -> tuple[Tensor, Tensor | None]:
    """A scan, whose inner products are recomputed in backward with `activations`."""
    if not recomputes_activations():
        return scan(parts, before, handed_on)
    made: tuple[Tensor, Tensor | None] = checkpoint(
        scan, parts, before, handed_on, use_reentrant=False, preserve_rng_state=False
    )
    return made


class _Convolution(torch.autograd.Function):
    """y[t] = bias + sum of w[:, j] x[t + j] over j, by channel: [n + K - 1, C] -> [n, C].

    On a CPU and in fp32 much faster than torch's own (docs/log.md).
    """

    @staticmethod
    def forward(ctx: Context, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        wide, taps = _wide(x), _taps(weight)
        n = len(x) - len(taps) + 1
        y = wide[:n] * taps[0]
        for j, tap in enumerate(taps[1:], start=1):
            y.addcmul_(wide[j : j + n], tap)
        return (y if bias is None else y.add_(bias)).to(x.dtype)

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        x, weight, bias = ctx.saved_tensors
        wide, n = _wide(g), len(g)
        gx = wide.new_zeros(x.shape)
        for j, tap in enumerate(_taps(weight)):
            gx[j : j + n].addcmul_(wide, tap)
        gw = gb = None
        if ctx.needs_input_grad[1]:
            sums = [(wide * x[j : j + n]).sum(0) for j in range(weight.shape[-1])]
            gw = torch.stack(sums, -1).view_as(weight).to(weight.dtype)
        if bias is not None and ctx.needs_input_grad[2]:
            gb = wide.sum(0).to(bias.dtype)
        return gx.to(x.dtype), gw, gb


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _taps(weight: Tensor) -> Tensor:
    """A weight [C, 1, K] as [K, C]."""
    return _wide(weight)[:, 0].t().contiguous()
