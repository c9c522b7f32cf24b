"""Stand-ins for CUDA's kernels: the same operators, on the CPU, in plain products.

That of attention refuses what the kernel refuses (torch's flash_api.cpp), but for number formats
and odd widths.
"""

import itertools
from dataclasses import dataclass, field

import torch
import torch.nn.attention.varlen  # it registers the operators

from tunesmith.engine import fused, varlen


@dataclass
class Calls:
    """What the kernel was asked for since a test began."""

    forward: list[tuple[int, int]] = field(default_factory=list)  # documents and keys of each call
    backward: list[bool] = field(default_factory=list)  # whether each sums in one order


_SEEN = Calls()


def stand_in(monkeypatch) -> Calls:
    """Let the CPU, and `meta`, take the path of a card that has the attention kernel."""
    monkeypatch.setattr(varlen, "obstacle", lambda device, dtype: None)
    monkeypatch.setattr(varlen, "WIDTH_MULTIPLE", 1)
    _SEEN.forward.clear()
    _SEEN.backward.clear()
    return _SEEN


def _documents(q, k, ends_q, ends_k, longest, window):
    """Rows, keys and what is hidden [n, keys] of each document."""
    for tensor, ends, most in zip((q, k), (ends_q, ends_k), longest, strict=True):
        assert tensor.stride(-1) == 1
        assert ends.dtype == torch.int32
        assert ends.is_contiguous()
        assert ends[0] == 0
        assert ends[-1] == len(tensor)
        assert ends.diff().max() == most
    assert len(ends_q) == len(ends_k)
    left, right = window
    assert right == 0
    for (a, b), (low, high) in zip(
        itertools.pairwise(ends_q.tolist()), itertools.pairwise(ends_k.tolist()), strict=True
    ):
        at = torch.arange(b - a)[:, None] + (high - low) - (b - a)  # the last row sees the last key
        keys = torch.arange(high - low)[None]
        yield slice(a, b), slice(low, high), (keys > at) | ((left >= 0) & (keys < at - left))


def _heads(t, heads):
    """[n, G, Dh] -> [H, n, Dh]: each key head once for every query head of its own."""
    return t.transpose(0, 1).repeat_interleave(heads // t.shape[1], 0)


@torch.library.register_kernel("torch_attn::_varlen_attn", "cpu")
def _forward(  # noqa: PLR0913  (the signature is torch's)
    query,
    key,
    value,
    cu_seq_q,
    cu_seq_k,
    max_q,
    max_k,
    is_causal=False,
    scale=None,
    window_size=None,
    enable_gqa=False,
    seqused_k=None,
    block_table=None,
    num_splits=None,
):
    assert enable_gqa or query.shape[1] == key.shape[1]
    assert is_causal == (window_size == [-1, 0])
    assert seqused_k is block_table is num_splits is None
    heads, out = query.shape[1], torch.full_like(query, torch.nan)
    lse = query.new_full((heads, len(query)), torch.nan)
    layout = _documents(query, key, cu_seq_q, cu_seq_k, (max_q, max_k), window_size)
    for rows, keys, hidden in layout:
        scores = scale * query[rows].transpose(0, 1) @ _heads(key[keys], heads).transpose(1, 2)
        scores.masked_fill_(hidden, -torch.inf)
        lse[:, rows] = scores.logsumexp(-1)
        out[rows] = (scores.softmax(-1) @ _heads(value[keys], heads)).transpose(0, 1)
    _SEEN.forward.append((len(cu_seq_q) - 1, len(key)))
    return out, lse, torch.zeros(2, dtype=torch.uint64)


@torch.library.register_kernel("torch_attn::_varlen_attn_backward", "cpu")
def _backward(  # noqa: PLR0913  (the signature is torch's)
    grad_out,
    query,
    key,
    value,
    out,
    lse,
    cu_seq_q,
    cu_seq_k,
    max_q,
    max_k,
    is_causal,
    rng_state,
    scale=None,
    window_size=None,
):
    assert is_causal == (window_size == [-1, 0])
    assert rng_state.dtype == torch.uint64
    heads, groups = query.shape[1], key.shape[1]
    grads = [torch.full_like(each, torch.nan) for each in (query, key, value)]
    layout = _documents(query, key, cu_seq_q, cu_seq_k, (max_q, max_k), window_size)
    for rows, keys, hidden in layout:
        q, g, o = (each[rows].transpose(0, 1) for each in (query, grad_out, out))
        k, v = _heads(key[keys], heads), _heads(value[keys], heads)
        p = (scale * q @ k.transpose(1, 2) - lse[:, rows, None]).exp().masked_fill(hidden, 0)
        gs = p * (g @ v.transpose(1, 2) - (g * o).sum(-1, keepdim=True)) * scale
        grads[0][rows] = (gs @ k).transpose(0, 1)
        for grad, wide in ((grads[1], gs.transpose(1, 2) @ q), (grads[2], p.transpose(1, 2) @ g)):
            by_group = wide.unflatten(0, (groups, heads // groups)).sum(1)
            grad[keys] = by_group.transpose(0, 1)
    in_order = torch.are_deterministic_algorithms_enabled()
    _SEEN.backward.append(in_order and not torch.is_deterministic_algorithms_warn_only_enabled())
    return tuple(grads)


def stand_in_norm(monkeypatch) -> list[torch.Size]:
    """The same with the kernel of the norm; the shapes whose backward it computes."""
    monkeypatch.setattr(fused, "_is_one_kernel", lambda x: True)
    _NORMS.clear()
    return _NORMS


_NORMS: list[torch.Size] = []


def _norm_backward(grad_out, input, normalized_shape, rstd, weight, output_mask):
    assert list(normalized_shape) == [input.shape[-1]]
    assert input.dtype == weight.dtype == grad_out.dtype
    assert rstd.shape == (*input.shape[:-1], 1)
    _NORMS.append(input.shape)
    normed, g = input * rstd, grad_out * weight
    gx = rstd * (g - normed * (g * normed).mean(-1, keepdim=True))
    gw = (grad_out * normed).flatten(0, -2).sum(0) if output_mask[1] else None
    return gx.to(input.dtype), None if gw is None else gw.to(weight.dtype)


_LIBRARY = torch.library.Library("aten", "IMPL")
_LIBRARY.impl("_fused_rms_norm_backward", _norm_backward, "CPU")
