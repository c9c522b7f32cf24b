"""The shapes of layers that mix the rows of a text in another way than attention, from a config."""

from tunesmith.engine.shape import LinearShape
from tunesmith.models.config_file import Config

Mixer = tuple[tuple[LinearShape, ...], int, int, int]
"""Linear layers, other parameters, numbers of a state, and channels of its recurrence."""


def gated_delta_net(values: Config, d: int) -> Mixer:
    """Gated DeltaNet (arXiv 2412.06464) as Qwen3.5 has it."""
    keys, heads = int(values["linear_num_key_heads"]), int(values["linear_num_value_heads"])
    dk, dv = int(values["linear_key_head_dim"]), int(values["linear_value_head_dim"])
    mixed, inner = 2 * keys * dk + heads * dv, heads * dv
    linears = (
        LinearShape("linear_attn.out_proj", inner, d),
        LinearShape("linear_attn.in_proj_qkv", d, mixed),
        LinearShape("linear_attn.in_proj_z", d, inner),
        LinearShape("linear_attn.in_proj_b", d, heads),
        LinearShape("linear_attn.in_proj_a", d, heads),
    )
    kernel = int(values["linear_conv_kernel_dim"])
    return linears, 2 * heads + mixed * kernel + dv, heads * dk * dv + mixed * kernel, mixed


def mamba2(values: Config, d: int) -> Mixer:
    """Mamba-2 (arXiv 2405.21060) as Granite 4 has it."""
    heads, groups = int(values["mamba_n_heads"]), int(values["mamba_n_groups"])
    size, inner = int(values["mamba_d_state"]), int(values["mamba_expand"] * d)
    mixed, kernel = inner + 2 * groups * size, int(values["mamba_d_conv"])
    bias = bool(values["mamba_proj_bias"])
    linears = (
        LinearShape("mamba.in_proj", d, inner + mixed + heads, bias),
        LinearShape("mamba.out_proj", inner, d, bias),
    )
    others = 3 * heads + mixed * (kernel + bool(values["mamba_conv_bias"])) + inner
    return linears, others, inner * size + mixed * kernel, mixed


def short_convolution(values: Config, d: int) -> Mixer:
    """LFM2's gated convolution, whose state is its last inputs."""
    bias, kernel = bool(values["conv_bias"]), int(values["conv_L_cache"])
    linears = (
        LinearShape("conv.in_proj", d, 3 * d, bias),
        LinearShape("conv.out_proj", d, d, bias),
    )
    return linears, d * (kernel + bias), d * kernel, d
