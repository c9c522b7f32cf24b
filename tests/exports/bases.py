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
NOT_READ = {
    "llama-stretched": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 100.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }
    },
    "gemma2-narrow": {**FAMILIES["gemma2"], "head_dim": 32, "query_pre_attn_scalar": 32},
    "gemma3_text-narrow": {**FAMILIES["gemma3_text"], "head_dim": 32, "query_pre_attn_scalar": 32},
    "gemma3_text-capped": {**FAMILIES["gemma3_text"], "final_logit_softcapping": 20.0},
}

ASKING = TEMPLATE + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def kind_of(name):
    return name.partition("-")[0]


def base(name, folder):
    """A base's folder; its weights are bf16 values."""
    kind, changes = kind_of(name), (FAMILIES | NOT_READ)[name]
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
    tokenizer.backend_tokenizer.pre_tokenizer = cutter(CUT.get(kind, "smollm"))
    tokenizer.chat_template = ASKING
    tokenizer.save_pretrained(folder)
    return folder


def plain(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
