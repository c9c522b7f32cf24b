"""Tiny random models of every supported family, with settings that bite."""

import functools
import sys
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tunesmith.core.progress import SILENT
from tunesmith.engine import families as known
from tunesmith.models.four_bit import quantized

SHAPE = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
# Window shorter than a document, caps near 1, multipliers other than 1, head width other than
# D / H, tied and untied heads.
WINDOWED = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
HYBRID = ["linear_attention", "full_attention", "linear_attention"]
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 24}
FAMILIES: dict[str, dict[str, object]] = {
    "llama": {"tie_word_embeddings": False, "head_dim": 12, "attention_bias": True},
    "qwen2": {
        "tie_word_embeddings": True,
        "use_sliding_window": True,
        "sliding_window": 5,
        "max_window_layers": 1,
    },
    "qwen3": {"tie_word_embeddings": False, "head_dim": 12},
    "mistral": {"tie_word_embeddings": True, "sliding_window": 4, "head_dim": 12},
    "gemma2": {
        "tie_word_embeddings": True,
        "head_dim": 12,
        "sliding_window": 4,
        "attn_logit_softcapping": 1.1,
        "final_logit_softcapping": 0.9,
        "query_pre_attn_scalar": 7,
    },
    "gemma3_text": {
        "tie_word_embeddings": True,
        "head_dim": 12,
        "sliding_window": 4,
        **WINDOWED,
        "query_pre_attn_scalar": 9,
        "final_logit_softcapping": 1.2,
        "attn_logit_softcapping": 1.3,
    },
    "phi3": {"tie_word_embeddings": False, "sliding_window": 6},
    "olmo2": {"tie_word_embeddings": False},
    "granite": {
        "tie_word_embeddings": True,
        "embedding_multiplier": 3.0,
        "logits_scaling": 2.5,
        "residual_multiplier": 0.7,
        "attention_multiplier": 0.6,
    },
    "ministral": {"tie_word_embeddings": False, "head_dim": 12, "sliding_window": 4, **WINDOWED},
    "ministral3": {
        "tie_word_embeddings": False,
        "head_dim": 12,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 10_000.0,
            "factor": 16.0,
            "original_max_position_embeddings": 8,
            "max_position_embeddings": 128,
            "llama_4_scaling_beta": 0.3,  # queries from position 8 on
        },
    },
    "olmo3": {"tie_word_embeddings": False, "sliding_window": 4, **WINDOWED},
    "smollm3": {
        "tie_word_embeddings": True,
        "use_sliding_window": True,
        "sliding_window": 5,
        "no_rope_layers": [1, 0, 1],
        **WINDOWED,
    },
    "exaone4": {"tie_word_embeddings": False, "head_dim": 12, "sliding_window": 4, **WINDOWED},
    "hyperclovax": {
        "tie_word_embeddings": True,
        "embedding_multiplier": 3.0,
        "logits_scaling": 0.4,
        "residual_multiplier": 0.7,
        "attention_multiplier": 0.6,
        "use_post_norm": True,
    },
    "glm4": {"tie_word_embeddings": False, "head_dim": 12, "attention_bias": True},
    "cohere2": {
        "tie_word_embeddings": True,
        "head_dim": 12,
        "sliding_window": 4,
        "logit_scale": 0.6,
        **WINDOWED,
    },
    "seed_oss": {"tie_word_embeddings": False, "head_dim": 12, "attention_dropout": 0.0},
    "ernie4_5": {"tie_word_embeddings": True, "head_dim": 12, "use_bias": True},
    "arcee": {"tie_word_embeddings": False},
    "gemma4_text": {
        "tie_word_embeddings": True,
        "num_hidden_layers": 4,
        "head_dim": 12,
        "global_head_dim": 16,
        "num_global_key_value_heads": 4,
        "attention_k_eq_v": True,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "use_double_wide_mlp": True,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 103,  # room for a test's new tokens
        "final_logit_softcapping": 5.0,
    },
    "gemma3n_text": {
        "tie_word_embeddings": True,
        "num_hidden_layers": 4,
        "head_dim": 12,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "intermediate_size": [48] * 4,
        "activation_sparsity_pattern": [0.6, 0.0, 0.4, 0.0],
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 103,  # room for a test's new tokens
        "laurel_rank": 8,
        "altup_num_inputs": 8,
        "final_logit_softcapping": 5.0,
    },
    "apertus": {
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    },
    "qwen3_5_text": {
        "tie_word_embeddings": True,
        "head_dim": 12,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "partial_rotary_factor": 0.5,
        },
        "layer_types": HYBRID,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 8,
        "linear_key_head_dim": 6,
        "linear_value_head_dim": 5,
    },
    "granitemoehybrid": {
        "tie_word_embeddings": True,
        "num_local_experts": 0,
        "layer_types": HYBRID,
        "shared_intermediate_size": 48,
        "mamba_n_heads": 4,
        "mamba_n_groups": 2,
        "mamba_d_head": 16,
        "mamba_d_state": 8,
        "mamba_chunk_size": 4,
        "embedding_multiplier": 3.0,
        "logits_scaling": 2.5,
        "residual_multiplier": 0.7,
        "attention_multiplier": 0.6,
    },
    "lfm2": {
        "tie_word_embeddings": True,
        "layer_types": ["conv", "full_attention", "conv"],
        "block_multiple_of": 16,
        "conv_bias": True,
    },
    "mixtral": {"tie_word_embeddings": False, "head_dim": 12, "sliding_window": 4, **EXPERTS},
    "qwen3_moe": {
        "tie_word_embeddings": False,
        "head_dim": 12,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 24,
        "use_sliding_window": True,
        "sliding_window": 4,
        "norm_topk_prob": True,
    },
    "olmoe": {"tie_word_embeddings": False, **EXPERTS, "num_experts": 4, "clip_qkv": 0.9},
    "granitemoe": {
        "tie_word_embeddings": True,
        "embedding_multiplier": 3.0,
        "logits_scaling": 2.5,
        "residual_multiplier": 0.7,
        "attention_multiplier": 0.6,
        **EXPERTS,
    },
    "gpt_oss": {
        "tie_word_embeddings": False,
        "head_dim": 12,
        "sliding_window": 4,
        "swiglu_limit": 0.8,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        **WINDOWED,
        **EXPERTS,
    },
}
# What meets a variant of a method, beside what the table of families says.
TRAITS = {
    family: (
        *("tied" if settings["tie_word_embeddings"] else "untied",),
        *(("wide heads",) if "head_dim" in settings else ()),
        *(("window",) if "sliding_window" in settings else ()),
        *known.FAMILIES[family].traits,
    )
    for family, settings in FAMILIES.items()
}
STATES = [family for family in FAMILIES if "recurrent state" in TRAITS[family]]
KEYED = [family for family in FAMILIES if family not in STATES]  # with keys in every layer


def fits(family: str, settings: BaseModel) -> bool:
    """Whether a base of the family has what the method trains."""
    if settings.kind == "p-tuning":
        return family in KEYED
    if settings.kind == "ia3" and family == "lfm2":  # its layers have other names
        return False
    return "experts" in TRAITS[family] or not getattr(settings, "target_parameters", ())


def tiny_model(
    family: str, dtype: torch.dtype = torch.float64, seed: int = 0, **settings: object
) -> PreTrainedModel:
    """A random model with transformers' eager attention; large weights, so that errors show."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(family, **{**SHAPE, **FAMILIES[family], **settings})
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25)
            elif "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
            else:
                parameter.normal_(0, 0.3)
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.fill_(0.7)
    return model.to(dtype).eval()


def four_bit_model(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The model with its linear layers in NF4, through a folder and the cache as a base goes."""
    model.save_pretrained(folder)
    config = AutoConfig.from_pretrained(folder)
    quantised = quantized(folder, config, dtype=model.dtype, progress=SILENT)
    loaded = AutoModelForCausalLM.from_pretrained(
        quantised, dtype=model.dtype, device_map={"": "cpu"}, attn_implementation="eager"
    )
    return loaded.eval()


class _Float64Torch:
    """torch, but its float32 is float64: transformers' own fp32 steps become exact."""

    float32 = float = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@functools.cache
def _modeling_files() -> frozenset[str]:
    return frozenset(type(tiny_model(family)).__module__ for family in FAMILIES)


def make_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers' modeling files compute wholly in float64, norms and softmax included."""
    for name in _modeling_files():
        monkeypatch.setattr(sys.modules[name], "torch", _Float64Torch())
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self.double())
