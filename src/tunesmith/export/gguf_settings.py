"""The settings of a base as a GGUF file names them: sizes, rotary base, windows, caps."""

import torch
from gguf import GGUFWriter
from torch import Tensor
from transformers import PretrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tunesmith.export.gguf_families import Family, head_width, rotary

LOCAL_BASE = 10_000.0  # the rotary base of gemma3's window layers where a file names none


def write_settings(writer: GGUFWriter, config: PretrainedConfig, family: Family) -> None:
    """What llama.cpp builds the model from, besides its tensors and vocabulary."""
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_width(config))
    writer.add_value_length(head_width(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rotary(config)["rope_theta"])
    if family.architecture == "llama":
        writer.add_rope_dimension_count(head_width(config))
    if family.window_every is not None:
        _write_windows(writer, config)


def _write_windows(writer: GGUFWriter, config: PretrainedConfig) -> None:
    writer.add_sliding_window(config.sliding_window)
    local = rotary(config, "sliding_attention")["rope_theta"]
    if config.model_type == "gemma3_text" and local != LOCAL_BASE:
        writer.add_rope_freq_base_swa(local)
    if getattr(config, "attn_logit_softcapping", None) is not None:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if getattr(config, "final_logit_softcapping", None) is not None:
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def rotary_factors(config: PretrainedConfig) -> Tensor | None:
    """What each of Llama 3's stretched frequencies is divided by, fp32 [Dh / 2]; None without.

    llama.cpp reads them as the tensor `rope_freqs.weight`.
    """
    if rotary(config).get("rope_type", "default") != "llama3":
        return None
    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, device=torch.device("cpu"))
    width = head_width(config)
    base = float(rotary(config)["rope_theta"])  # type: ignore[arg-type]  # a number in a config
    plain = base ** -(torch.arange(0, width, 2, dtype=torch.float32) / width)
    factors: Tensor = plain / stretched.float()
    return factors
