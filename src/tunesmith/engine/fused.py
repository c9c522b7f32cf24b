"""Forwards that compute the same in fewer passes and keep less: a table from forward to forward.

A module whose forward is written in another way than those of the table keeps its own.
"""

import inspect
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.gemma4.modeling_gemma4 import Gemma4RMSNorm
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm
from transformers.models.olmo2.modeling_olmo2 import Olmo2RMSNorm
from transformers.models.phi3.modeling_phi3 import Phi3MLP

from tunesmith.engine.autograd import Context, Gradients, apply, mark
from tunesmith.engine.batch import recomputes_activations

Forward = Callable[[Any, Tensor], Tensor]  # transformers does not type its modules
_aten = torch.ops.aten


def _is_one_kernel(x: Tensor) -> bool:
    """Whether torch computes the norm in one operation, over one number format: on CUDA."""
    return x.device.type == "cuda"


def _normed(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The norm's output and 1 / rms [.., 1]."""
    if _is_one_kernel(x):
        both = torch.promote_types(x.dtype, weight.dtype)
        y, r = _aten._fused_rms_norm(x.to(both), [x.shape[-1]], weight.to(both), eps)
        return y.to(x.dtype), r
    wide = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    r = torch.rsqrt(norm.square().div_(x.shape[-1]).add_(eps))
    return (x * r).mul_(weight).to(x.dtype), r


class _RMSNorm(torch.autograd.Function):
    """y = x / rms(x) * weight; keeps x and 1 / rms [.., 1] (arXiv 1910.07467, equation 4)."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        y, r = _normed(x, weight, eps)
        ctx.save_for_backward(x, weight, r)
        return y

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        x, weight, r = ctx.saved_tensors
        if _is_one_kernel(x):
            both = torch.promote_types(x.dtype, weight.dtype)
            needed = [True, ctx.needs_input_grad[1]]
            gx, gw = _aten._fused_rms_norm_backward(
                g.to(both), x.to(both), [x.shape[-1]], r, weight.to(both), needed
            )
            return gx.to(x.dtype), gw.to(weight.dtype) if needed[1] else None, None
        gh = g * weight.to(r.dtype)  # wide
        dot = torch.linalg.vecdot(gh, x.to(r.dtype)).unsqueeze(-1)
        gw = None
        if ctx.needs_input_grad[1]:
            gw = (g * (x * r)).flatten(0, -2).sum(0).to(weight.dtype)
        gh.mul_(r).addcmul_(x.to(r.dtype), dot.mul_(r.pow(3)).div_(-x.shape[-1]))
        return gh.to(x.dtype), gw, None


def _unit(gate: Tensor, up: Tensor, kind: str) -> Tensor:
    return _ACTIVATIONS[kind][0](gate).mul_(up)


class _GatedUnit(torch.autograd.Function):
    """act(gate) * up, with act's input kept and its output recomputed (arXiv 2002.05202)."""

    @staticmethod
    def forward(ctx: Context, gate: Tensor, up: Tensor, kind: str) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.plan = kind
        return _unit(gate, up, kind)

    @staticmethod
    def backward(ctx: Context, g: Tensor) -> Gradients:
        gate, up = ctx.saved_tensors
        act, act_backward = _ACTIVATIONS[ctx.plan]
        return act_backward(g * up, gate), act(gate).mul_(g), None


_ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "silu": (nn.functional.silu, _aten.silu_backward),
    "gelu_pytorch_tanh": (
        partial(nn.functional.gelu, approximate="tanh"),
        partial(_aten.gelu_backward, approximate="tanh"),
    ),
}


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    y = apply(_RMSNorm, x, weight, eps)
    return mark(y, lambda x, w: _normed(x, w, eps)[0], x, weight) if recomputes_activations() else y


def _gated_unit(gate: Tensor, up: Tensor, kind: str) -> Tensor:
    y = apply(_GatedUnit, gate, up, kind)
    return mark(y, partial(_unit, kind=kind), gate, up) if recomputes_activations() else y


def _plain_norm(module: Any, x: Tensor) -> Tensor:
    return _norm(x, module.weight, module.variance_epsilon)


def _gemma_norm(module: Any, x: Tensor) -> Tensor:
    """Gemma scales by 1 + weight."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return _norm(x, 1.0 + module.weight.to(wide), module.eps)


def _norm_with_weight(module: Any, x: Tensor) -> Tensor:
    """Gemma 4 has some norms without a weight."""
    return _norm(x, module.weight, module.eps)


def _gated_mlp(module: Any, x: Tensor) -> Tensor:
    unit = _gated_unit(module.gate_proj(x), module.up_proj(x), _activation(module))
    y: Tensor = module.down_proj(unit)
    return y


def _phi3_mlp(module: Any, x: Tensor) -> Tensor:
    gate, up = module.gate_up_proj(x).chunk(2, dim=-1)
    y: Tensor = module.down_proj(_gated_unit(gate, up, _activation(module)))
    return y


def _activation(module: Any) -> str:
    config = module.config
    return str(getattr(config, "hidden_activation", None) or config.hidden_act)


def same_words(forward: Callable[..., Any]) -> Hashable:
    """What is equal where two forwards do the same in the same words, comments aside."""
    code = inspect.unwrap(forward).__code__
    return code.co_code, code.co_names, tuple(c for c in code.co_consts if not isinstance(c, str))


# transformers repeats a family's code in the next family's file.
FUSED: Mapping[Hashable, Forward] = {
    same_words(LlamaRMSNorm.forward): _plain_norm,
    same_words(Olmo2RMSNorm.forward): _plain_norm,
    same_words(Gemma2RMSNorm.forward): _gemma_norm,
    same_words(Gemma4RMSNorm.forward): _norm_with_weight,
    same_words(LlamaMLP.forward): _gated_mlp,
    same_words(Phi3MLP.forward): _phi3_mlp,
}


def fuse_(model: nn.Module) -> int:
    """Give every module whose forward is written as a known one the fused one; returns how many."""
    count = 0
    for module in model.modules():
        forward = FUSED.get(same_words(type(module).forward))
        if forward is None:
            continue
        if forward in (_gated_mlp, _phi3_mlp) and _activation(module) not in _ACTIVATIONS:
            continue
        if forward is _norm_with_weight and not module.with_scale:
            continue
        module.forward = partial(forward, module)
        count += 1
    return count
