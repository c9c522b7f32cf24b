"""Tiny bases of every family that can be written, each with a tokenizer of its kind."""

import torch
from transformers import AutoModelForCausalLM

from tests.models.test_gguf import CUT
from tests.models.tiny import PIECES, TEMPLATE, tiny_folder, tiny_model, tiny_tokenizer, write_gguf
from tunesmith.models import gguf
from tunesmith.models.gguf import cutter

# Windows shorter than a text, head widths other than D / H, tied and untied heads, caps.
FAMILIES = {
    "llama": {"tie_word_embeddings": False, "head_dim": 32},
    "llama-tied": {"tie_word_embeddings": True},
    "mistral": {"tie_word_embeddings": False, "sliding_window": None},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 128, "tie_word_embeddings": False},
    "gemma2": {"head_dim": 256, "sliding_window": 8, "query_pre_attn_scalar": 256},
    "gemma3_text": {
        "head_dim": 256,
        "sliding_window": 8,
        "query_pre_attn_scalar": 256,
        "num_hidden_layers": 7,
    },
}
# What our own reader has no place for.
UNWINDOWED = {"layer_types": ["full_attention"] * 2}
THREE = {
    "num_hidden_layers": 3,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}
WITHOUT_READER = {
    "ministral3": {
        "head_dim": 32,
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1000.0,
            "factor": 16.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 16,
            "llama_4_scaling_beta": 0.3,  # queries from position 16 on
        },
    },
    "ministral": {"sliding_window": 128, "head_dim": 32, **UNWINDOWED},
    "smollm3": {"num_hidden_layers": 5, "tie_word_embeddings": True, "use_sliding_window": False},
    "olmo2": {"tie_word_embeddings": False},
    "olmo3": {**THREE, "tie_word_embeddings": False, "sliding_window": 8},
    "granite": {
        "tie_word_embeddings": True,
        "embedding_multiplier": 3.0,
        "logits_scaling": 2.5,
        "residual_multiplier": 0.7,
        "attention_multiplier": 0.6,
    },
    "exaone4": {"sliding_window": None, "tie_word_embeddings": True, **UNWINDOWED},
    "phi3": {"tie_word_embeddings": False, "sliding_window": None},
    "glm4": {"head_dim": 32, "attention_bias": True, "tie_word_embeddings": False},
    "cohere2": {**THREE, "tie_word_embeddings": True, "sliding_window": 8, "logit_scale": 0.6},
    "seed_oss": {"head_dim": 32, "attention_bias": True, "tie_word_embeddings": False},
    "ernie4_5": {"head_dim": 32, "tie_word_embeddings": True, "use_bias": False},
    "arcee": {"tie_word_embeddings": False},
    "apertus": {
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    },
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1000.0,
    "factor": 8.0,
    "original_max_position_embeddings": 16,
}
STRETCHED = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1000.0,
    "long_factor": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
    "original_max_position_embeddings": 1024,
    "partial_rotary_factor": 0.75,
}
VARIANTS = {
    "llama-stretched": {"rope_parameters": STRETCHED},
    "smollm3-yarn": {**WITHOUT_READER["smollm3"], "rope_parameters": YARN},
    "olmo3-yarn": {
        **WITHOUT_READER["olmo3"],
        "rope_parameters": {
            "full_attention": {**YARN, "attention_factor": 1.3},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0},
        },
    },
    "arcee-yarn": {**WITHOUT_READER["arcee"], "rope_parameters": YARN},
    "apertus-stretched": {**WITHOUT_READER["apertus"], "rope_parameters": STRETCHED},
    "exaone4-stretched": {**WITHOUT_READER["exaone4"], "rope_parameters": STRETCHED},
    "exaone4-windows": {
        "num_hidden_layers": 64,
        "sliding_window": 8,
        "sliding_window_pattern": "LLLG",
        "layer_types": [
            "full_attention" if layer % 4 == 3 else "sliding_attention" for layer in range(64)
        ],
    },
    "phi3-long": {
        **WITHOUT_READER["phi3"],
        "max_position_embeddings": 4096,
        "rope_parameters": LONG,
    },
    "gemma2-narrow": {**FAMILIES["gemma2"], "head_dim": 32, "query_pre_attn_scalar": 32},
    "gemma3_text-narrow": {**FAMILIES["gemma3_text"], "head_dim": 32, "query_pre_attn_scalar": 32},
    "gemma3_text-capped": {**FAMILIES["gemma3_text"], "final_logit_softcapping": 20.0},
}

BASES = FAMILIES | WITHOUT_READER | VARIANTS

# Each rule for words that a file can name, in a family whose published models have it.
RULES = {
    **CUT,
    **{"smollm3": "llama-bpe", "ministral3": "tekken", "olmo2": "dbrx", "phi3": "gpt-4o"},
    "glm4": "qwen35",
}
ASKING = TEMPLATE + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def kind_of(name):
    return name.partition("-")[0]


def base(name, folder):
    """A base's folder; its weights are bf16 values."""
    kind, changes = kind_of(name), BASES[name]
    if kind.startswith("gemma"):
        # the tokenizer of a SentencePiece vocabulary, as reading a file makes it
        source = write_gguf(folder.parent / f"{name}.gguf", tiny_model(kind, **changes))
        folder.mkdir()
        gguf.convert(source, into=folder)
        # one row more: transformers' tokenizer of this kind adds a <mask> by itself
        tiny_model(kind, **changes, vocab_size=len(PIECES) + 1).save_pretrained(folder)
        (folder / "chat_template.jinja").write_text("{{ bos_token }}" + ASKING)
        return folder
    tiny_folder(folder, kind, **changes)
    tokenizer = tiny_tokenizer()
    rule = RULES.get(kind, "smollm")
    tokenizer.backend_tokenizer.pre_tokenizer = cutter(rule)
    tokenizer.backend_tokenizer.model.ignore_merges = rule in ("llama-bpe", "tekken")
    tokenizer.chat_template = ASKING
    tokenizer.save_pretrained(folder)
    return folder


def plain(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
