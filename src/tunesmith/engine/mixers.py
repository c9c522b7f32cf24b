"""Layers with a recurrent state: a table from transformers' forward to ours over a packed stream.

Ours differ in one thing: the state begins and ends with documents (`engine/state.py`). What happens
between is transformers' own, in chunks of rows, or the kernels that transformers finds on a GPU
(flash-linear-attention, mamba_ssm).
"""

import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.granitemoehybrid import modeling_granitemoehybrid as granite
from transformers.models.lfm2 import modeling_lfm2 as lfm2
from transformers.models.qwen3_5 import modeling_qwen3_5 as qwen
from transformers.models.qwen3_next import modeling_qwen3_next as qwen_next

from tunesmith.core.errors import ModelError
from tunesmith.engine.fused import same_words
from tunesmith.engine.state import Parts, convolution_of, over_documents

CHUNK_ROWS = 64  # docs/log.md
Shape = tuple[int, ...]


def _gated_delta_net(module: Any, hidden_states: Tensor, **_: object) -> Tensor:
    """Gated DeltaNet (arXiv 2412.06464), [1, T, D] -> [1, T, D]; state [H, Dk, Dv]."""
    z = module.in_proj_z(hidden_states)
    b, a = module.in_proj_b(hidden_states)[0], module.in_proj_a(hidden_states)[0]
    return _delta_net(module, module.in_proj_qkv(hidden_states)[0], z, b, a)


def _grouped_delta_net(module: Any, hidden_states: Tensor, **_: object) -> Tensor:
    """The same with projections that are joined, each key head's parts beside each other."""
    joined = module.in_proj_qkvz(hidden_states), module.in_proj_ba(hidden_states)
    query, key, value, z, b, a = module.fix_query_key_value_ordering(*joined)
    mixed = torch.cat([part.flatten(2) for part in (query, key, value)], -1)[0]
    return _delta_net(module, mixed, z, b[0], a[0])


def _delta_net(module: Any, mixed: Tensor, z: Tensor, b: Tensor, a: Tensor) -> Tensor:
    """From queries, keys and values [T, C], the output's gates, and strengths and decays [T, H]."""
    decay = -module.A_log.float().exp() * nn.functional.softplus(a.float() + module.dt_bias)
    y = over_documents(module, mixed, (decay, b.sigmoid()), partial(_delta_rule, module))
    y = module.norm(y.flatten(0, 1), z.reshape(-1, module.head_v_dim))
    out: Tensor = module.out_proj(y.view(1, len(mixed), -1))
    return out


def _delta_rule(
    module: Any, parts: Parts, before: Tensor | None, handed_on: bool
) -> tuple[Tensor, Tensor | None]:
    mixed, decay, beta = parts
    query, key, value = mixed.split_with_sizes(
        [module.key_dim, module.key_dim, module.value_dim], -1
    )
    options = {} if mixed.shape[1] == 1 else {"chunk_size": _chunk_rows(mixed)}
    rule = qwen.torch_chunk_gated_delta_rule if options else qwen.torch_recurrent_gated_delta_rule
    made: tuple[Tensor, Tensor | None] = _kernel(rule, mixed)(
        _heads(query, module.head_k_dim),
        _heads(key, module.head_k_dim),
        _heads(value, module.head_v_dim),
        g=decay,
        beta=beta,
        initial_state=before,
        output_final_state=handed_on,
        use_qk_l2norm_in_kernel=True,
        **options,
    )
    return made


def _mamba2(module: Any, hidden_states: Tensor, **_: object) -> Tensor:
    """Mamba-2 (arXiv 2405.21060), [1, T, D] -> [1, T, D]; state [H, Dh, N]."""
    widths = [module.intermediate_size, module.conv_dim, module.num_heads]
    gate, mixed, step = module.in_proj(hidden_states)[0].split_with_sizes(widths, -1)
    step = nn.functional.softplus(step + module.dt_bias.to(step.dtype))
    step = step.clamp(*module.time_step_limit)  # here, as a padded row takes a step of 0
    y = over_documents(module, mixed, (step,), partial(_mamba2_scan, module))
    y = module.norm(y.flatten(1), gate)
    out: Tensor = module.out_proj(y.to(hidden_states.dtype)[None])
    return out


def _mamba2_scan(
    module: Any, parts: Parts, before: Tensor | None, handed_on: bool
) -> tuple[Tensor, Tensor | None]:
    mixed, step = parts
    states = module.n_groups * module.ssm_state_size
    x, b, c = mixed.split_with_sizes([module.intermediate_size, states, states], -1)
    made = _kernel(granite.mamba2_chunk_scan, mixed)(
        _heads(x, module.head_dim),
        step,
        -torch.exp(module.A_log.float()),
        _heads(b, module.ssm_state_size),
        _heads(c, module.ssm_state_size),
        chunk_size=_chunk_rows(mixed),
        D=module.D,
        initial_states=before,
        return_final_states=handed_on,
    )
    y, after = made if handed_on else (made, None)
    return y, after


def _short_convolution(module: Any, hidden_states: Tensor, **_: object) -> Tensor:
    """LFM2's gated convolution of few rows, [1, T, D] -> [1, T, D]; its inputs are its state."""
    before, behind, x = module.in_proj(hidden_states)[0].chunk(3, -1)
    y = behind * over_documents(module, before * x, (), None)
    out: Tensor = module.out_proj(y[None])
    return out


def _heads(part: Tensor, width: int) -> Tensor:
    """[B, S, C] -> [B, S, C / width, width]."""
    return part.reshape(*part.shape[:-1], -1, width)


def _chunk_rows(part: Tensor) -> int:
    """Rows of a part [B, S, ..] that are computed at once: plain torch pads up to whole chunks."""
    return CHUNK_ROWS if part.is_cuda else min(CHUNK_ROWS, part.shape[1])


def _kernel(function: Callable[..., Any], like: Tensor) -> Callable[..., Any]:
    """The function with what transformers has installed for it on a GPU, else in plain torch."""
    return function if like.is_cuda else inspect.unwrap(function)


@dataclass(frozen=True, slots=True)
class Mixer:
    """A forward over a packed stream, and the shape of the state of one document."""

    forward: Callable[..., Tensor]
    state: Callable[[Any], Shape]


def _delta_state(module: Any) -> Shape:
    return (module.num_v_heads, module.head_k_dim, module.head_v_dim)


def _mamba2_state(module: Any) -> Shape:
    return (module.num_heads, module.head_dim, module.ssm_state_size)


# transformers repeats a family's code in the next family's file.
MIXERS: Mapping[Hashable, Mixer] = {
    same_words(qwen.Qwen3_5GatedDeltaNet.forward): Mixer(_gated_delta_net, _delta_state),
    same_words(qwen_next.Qwen3NextGatedDeltaNet.forward): Mixer(_grouped_delta_net, _delta_state),
    same_words(granite.GraniteMoeHybridMambaLayer.forward): Mixer(_mamba2, _mamba2_state),
    same_words(lfm2.Lfm2ShortConv.forward): Mixer(_short_convolution, lambda _: (0,)),
}


def reset_states_(model: nn.Module) -> dict[int, tuple[Shape, Shape]]:
    """Let every layer with a recurrent state reset it at each document of a stream.

    Returns what such layers keep of a document, by layer: the shapes of the last inputs of the
    convolution and of the state. Raises ModelError for a convolution in an unknown layer.
    """
    shapes: dict[int, tuple[Shape, Shape]] = {}
    module: Any  # transformers does not type its modules
    for module in model.modules():
        if not any(isinstance(child, nn.Conv1d) for child in module.children()):
            continue
        mixer = MIXERS.get(same_words(type(module).forward))
        if mixer is None:
            raise ModelError(
                f"{type(module).__name__} mixes the rows of a text in a way that packed streams do "
                "not know.",
                remedy="This model family is not supported yet.",
            )
        channels, _, taps = convolution_of(module).weight.shape
        module.forward = partial(mixer.forward, module)
        shapes[int(module.layer_idx)] = (taps - 1, channels), mixer.state(module)
    return shapes
