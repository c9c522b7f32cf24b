"""Attention of all documents of a stream in one call: `torch.nn.attention.varlen`, on CUDA.

Shapes: q [H, T, Dh], k and v [G, T, Dh]. The kernel (FlashAttention in torch) takes the keys of
each document in one run, N in all. Where documents have prefixes, their chains (chains.py) are
copied out into such runs, which are not kept for backward but made again.
"""

import functools
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.autograd import Context, Gradients, apply
from tunesmith.engine.batch import PackedBatch
from tunesmith.engine.chains import Chains, chains_of
from tunesmith.engine.decode import Rule

# What the kernel takes, by torch's flash_api.cpp.
OLDEST = (8, 0)  # Ampere
WIDEST, WIDTH_MULTIPLE = 256, 8
# Its backward accumulates in an array of so many numbers at most, with a gap after each document.
MAX_SUMS, GAP, SUMS_WIDTH = 2**31, 128, 64
# Of keys' and values' gradients in chains, which the kernel makes by query head: with longer
# prefixes in front of more documents, those are computed one after the other.
CHAIN_BYTES = 512 << 20


@functools.cache
def obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why no attention on a device takes the kernel; None: whatever `admits` does."""
    if device.type != "cuda":
        return "only on CUDA"
    if torch.version.hip is not None:
        return "only on NVIDIA's cards"
    if not torch.backends.cuda.is_flash_attention_available():
        return "this build of torch has no FlashAttention"
    if torch.cuda.get_device_capability(device) < OLDEST:
        return "only from Ampere on (A100, RTX 30xx)"
    if dtype.itemsize != 2:
        return "only in bfloat16 and float16"
    return None


def admits(q: Tensor, stream: PackedBatch, rule: Rule) -> bool:
    """Whether the kernel computes this call."""
    heads, rows, width = q.shape
    if obstacle(q.device, q.dtype) or rule.softcap is not None:
        return False
    if width > WIDEST or width % WIDTH_MULTIPLE:
        return False
    chains = chains_of(stream, rule.window, q.device)
    sums = (rows + GAP * len(stream.documents)) * heads * (-(-width // SUMS_WIDTH) * SUMS_WIDTH)
    copied = 0 if chains.rows is None else 2 * len(chains.rows) * heads * width * q.itemsize
    return sums < MAX_SUMS and copied <= CHAIN_BYTES


def attend_at_once(q: Tensor, k: Tensor, v: Tensor, stream: PackedBatch, rule: Rule) -> Tensor:
    """Attention of every document of a stream that is admitted: [H, T, Dh] -> [H, T, Dh]."""
    chains = chains_of(stream, rule.window, q.device)
    learned = [t for b in chains.learned for t in (b.keys[rule.layer], b.values[rule.layer])]
    return apply(_Varlen, q, k, v, (chains, rule), rule.sinks, *learned)


class _Varlen(torch.autograd.Function):
    """The kernel with its own backward, over the chains of a stream's documents.

    Sinks: with l' = log(e^l + e^sink) in place of a row's log-sum-exp l, its output is e^(l - l')
    times the kernel's, and backward out of that output and l' is the kernel's own.
    """

    @staticmethod
    def forward(
        ctx: Context,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        plan: tuple[Chains, Rule],
        sinks: Tensor | None,
        *learned: Tensor,  # noqa: ARG004  (the chains hold the blocks; autograd must see them)
    ) -> Tensor:
        chains, rule = plan
        q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)  # [T, H or G, Dh]
        sources = chains.sources(k, v, rule.layer)
        chains.keep(sources, rule.layer)
        out, lse, state = _kernels()._varlen_attn(
            q,
            *chains.runs(sources),
            *chains.ends,
            *chains.longest,
            rule.window is None,
            rule.scale,
            _sides(rule),
            True,  # H / G query heads share a key head
        )  # [T, H, Dh], [H, T]
        if sinks is not None:
            own, lse = lse, torch.logaddexp(lse, sinks.to(lse.dtype)[:, None])
            out = out * torch.exp(own - lse).t()[..., None].to(out.dtype)
        ctx.save_for_backward(q, k, v, out, lse, state, sinks)
        ctx.plan = plan
        result: Tensor = out.transpose(0, 1)
        return result

    @staticmethod
    def backward(ctx: Context, g_out: Tensor) -> Gradients:
        chains, rule = ctx.plan
        q, k, v, out, lse, state, sinks = ctx.saved_tensors
        g_out = g_out.transpose(0, 1)
        keys, values = chains.runs(chains.sources(k, v, rule.layer))
        with _in_one_order():
            gq, gk, gv = _kernels()._varlen_attn_backward(
                g_out,
                q,
                keys,
                values,
                out,
                lse,
                *chains.ends,
                *chains.longest,
                rule.window is None,
                state,
                rule.scale,
                _sides(rule),
            )
        needs_sinks = ctx.needs_input_grad[4]
        g_sinks = _sink_gradient(g_out, out, lse, sinks) if needs_sinks else None
        gk, gv, *g_learned = chains.summed(gk, gv, rule.layer)
        own = (t.transpose(0, 1) for t in (gq, gk, gv))
        return *own, None, g_sinks, *g_learned


def _sink_gradient(g_out: Tensor, out: Tensor, lse: Tensor, sinks: Tensor) -> Tensor:
    """The gradient [H]: a sink takes its share of the probabilities and gives no value."""
    dot = torch.linalg.vecdot(g_out.to(lse.dtype), out.to(lse.dtype))  # [T, H]
    share = torch.exp(sinks.to(lse.dtype)[:, None] - lse)
    gradient: Tensor = -(share * dot.t()).sum(1)
    return gradient


def _sides(rule: Rule) -> list[int]:
    """How many keys before and after its own a row sees; -1: all. Aligned to the last row."""
    return [-1 if rule.window is None else rule.window - 1, 0]


@functools.cache
def _kernels() -> Any:
    """Torch's operators, forward and backward, which importing its module registers.

    Its function would keep the runs of keys and values, and leaves no say in how backward sums.
    """
    importlib.import_module("torch.nn.attention.varlen")
    return torch.ops.torch_attn


@contextmanager
def _in_one_order() -> Iterator[None]:
    """Where sums are to be ordered, make the kernel do so: as long as torch only warns, it does not
    (attention_backward.cu).
    """
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    if not (warns and torch.are_deterministic_algorithms_enabled()):
        yield
        return
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=True)
