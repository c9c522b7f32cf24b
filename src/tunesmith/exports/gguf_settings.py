"""What a GGUF file says of a model besides its tensors and vocabulary, by the model's config."""

import math
from collections.abc import Callable, Mapping

import torch
from gguf import GGUFWriter, RopeScalingType
from torch import Tensor
from transformers import PretrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tunesmith.exports.gguf_families import GgufFamily, head_width, rope_type, rotary

LOCAL_BASE = 10_000.0  # the rotary base of gemma3's window layers where a file names none
# The config's keys that llama.cpp reads under other names, and the writer's method for each.
SCALES = {
    "attention_multiplier": "attention_scale",
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_scale",
    "logit_scale": "logit_scale",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
# Numbers of xIELU, which transformers keeps as tensors and a file as settings.
XIELU = ("alpha_p", "alpha_n", "beta", "eps")
ACTIVATION = ".mlp.act_fn."


FREQUENCIES = ".rotary_emb.inv_freq"  # in old files of llama: they follow from its settings


def is_setting(name: str) -> bool:
    """Whether the file says in its settings what a tensor of the base holds."""
    return ACTIVATION in name or name.endswith(FREQUENCIES)


def write_settings(
    writer: GGUFWriter,
    config: PretrainedConfig,
    family: GgufFamily,
    read: Callable[[str], Tensor],
) -> None:
    """What llama.cpp builds the model from; ``read`` gives a tensor of the base by its name."""
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_width(config))
    writer.add_value_length(head_width(config))
    if hasattr(config, "rms_norm_eps"):
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    else:
        writer.add_layer_norm_eps(config.layer_norm_eps)
    for key, name in SCALES.items():
        if getattr(config, key, None) is not None:
            getattr(writer, f"add_{name}")(getattr(config, key))
    _write_rotary(writer, config, family)
    _write_windows(writer, config, family)
    if getattr(config, "hidden_act", None) == "xielu":
        for key in XIELU:
            layers = range(config.num_hidden_layers)
            values = [float(read(f"model.layers.{n}{ACTIVATION}{key}")) for n in layers]
            getattr(writer, f"add_xielu_{key}")(values)


def _write_rotary(writer: GGUFWriter, config: PretrainedConfig, family: GgufFamily) -> None:
    settings, kind = rotary(config), rope_type(config)
    writer.add_rope_freq_base(settings["rope_theta"])
    share = settings.get("partial_rotary_factor") or 1.0
    if family.architecture == "llama" or share != 1.0:
        writer.add_rope_dimension_count(int(head_width(config) * share))
    if (beta := settings.get("llama_4_scaling_beta")) is not None:
        writer.add_attn_temperature_scale(beta)
    if kind not in ("yarn", "longrope"):
        return
    _, scale = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), **_of_layers(config))
    writer.add_rope_scaling_type(RopeScalingType(kind))
    writer.add_rope_scaling_orig_ctx_len(settings["original_max_position_embeddings"])
    if kind == "yarn":  # llama.cpp scales by 0.1 log(factor) + 1 by itself
        writer.add_rope_scaling_factor(settings["factor"])
        scale /= 0.1 * math.log(settings["factor"]) + 1
    writer.add_rope_scaling_attn_factors(scale)


def _of_layers(config: PretrainedConfig) -> dict[str, str]:
    """Which layers' rotary settings are meant, where a config has some for each kind."""
    return {"layer_type": "full_attention"} if "full_attention" in config.rope_parameters else {}


def _write_windows(writer: GGUFWriter, config: PretrainedConfig, family: GgufFamily) -> None:
    if (family.window_every is None and not family.windows) or config.sliding_window is None:
        return
    writer.add_sliding_window(config.sliding_window)
    if family.windows:
        kinds = config.layer_types[: config.num_hidden_layers]
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in kinds])
    local = rotary(config, "sliding_attention")["rope_theta"]
    if config.model_type == "gemma3_text" and local != LOCAL_BASE:
        writer.add_rope_freq_base_swa(local)


def rotary_factors(config: PretrainedConfig) -> Mapping[str, Tensor]:
    """What each rotary frequency is divided by, fp32 [Dh / 2], by the tensor's name in the file.

    Llama 3 has one set of them, longrope one for short texts and one for long ones.
    """
    kind, settings = rope_type(config), rotary(config)
    if kind == "longrope":
        named = {name: settings[f"{name}_factor"] for name in ("long", "short")}
        return {
            f"rope_factors_{name}.weight": torch.tensor(values, dtype=torch.float32)
            for name, values in named.items()
        }
    if kind != "llama3":
        return {}
    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, device=torch.device("cpu"))
    width, base = head_width(config), float(settings["rope_theta"])
    plain = base ** -(torch.arange(0, width, 2, dtype=torch.float32) / width)
    return {"rope_freqs.weight": plain / stretched.float()}
