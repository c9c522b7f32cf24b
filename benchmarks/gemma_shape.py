"""A model of Gemma-3-270M's shape: random bf16 weights, another model's tokenizer and template."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

from tunesmith.core.files import replace_folder

CACHE = Path(__file__).parent / ".cache"
NAME = "gemma3-270m-shape"


def shape(pad: int, end: int) -> Gemma3TextConfig:
    """The shape; every sixth layer sees the whole document, the others a window of 512."""
    layers = 18
    return Gemma3TextConfig(
        vocab_size=262_144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        query_pre_attn_scalar=256,
        sliding_window=512,
        layer_types=[
            "sliding_attention" if (i + 1) % 6 else "full_attention" for i in range(layers)
        ],
        max_position_embeddings=32_768,
        tie_word_embeddings=True,
        pad_token_id=pad,
        eos_token_id=end,
        bos_token_id=None,
    )


def make(tokenizer_from: Path) -> Path:
    """The folder of the model, made once in benchmarks/.cache (about 0.5 GB)."""
    folder = CACHE / NAME
    if folder.is_dir():
        return folder
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    torch.manual_seed(0)
    model = Gemma3ForCausalLM(shape(tokenizer.pad_token_id, tokenizer.eos_token_id))

    def fill(into: Path) -> None:
        model.to(torch.bfloat16).save_pretrained(into)
        tokenizer.save_pretrained(into)

    replace_folder(folder, fill)
    return folder


if __name__ == "__main__":
    from tunesmith.models.resolve import resolve

    print(make(resolve("smollm2-135m-instruct")))
