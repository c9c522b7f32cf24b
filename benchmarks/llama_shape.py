"""Models of Llama's 7B and 13B shapes: random bf16 weights in shards, another model's tokenizer."""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from benchmarks.gemma_shape import CACHE
from tunesmith.core.files import replace_folder

SHAPES = {
    "7b": {"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 11_008},
    "13b": {"num_hidden_layers": 40, "hidden_size": 5120, "intermediate_size": 13_824},
}
HEAD_WIDTH, SPREAD = 128, 0.02
VOCABULARY = 32_000


def shape(size: str) -> LlamaConfig:
    """The config of a size."""
    sizes = SHAPES[size]
    heads = sizes["hidden_size"] // HEAD_WIDTH
    return LlamaConfig(
        **sizes,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=VOCABULARY,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )


def make(size: str, tokenizer_from: Path) -> Path:
    """The folder, made once in benchmarks/.cache: 13.5 GB for 7b, 26 GB for 13b."""
    folder = CACHE / f"llama-{size}-shape"
    if not folder.is_dir():
        write(size, folder, tokenizer_from)
    return folder


def write(size: str, folder: Path, tokenizer_from: Path) -> None:
    """Make the folder there; complete or absent."""
    config = shape(size)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)

    def fill(into: Path) -> None:
        _write_weights(config, into)
        config.save_pretrained(into)
        tokenizer.save_pretrained(into)

    replace_folder(folder, fill)


def _write_weights(config: LlamaConfig, folder: Path) -> None:
    """One file for each layer and one for the rest, so that no more than that is in memory."""
    with torch.device("meta"):
        shapes = AutoModelForCausalLM.from_config(config).state_dict()
    groups: dict[str, list[str]] = {}
    for name in shapes:
        parts = name.split(".")
        groups.setdefault(parts[2] if "layers" in parts else "rest", []).append(name)
    generator = torch.Generator().manual_seed(0)
    file_of: dict[str, str] = {}
    for number, names in enumerate(groups.values(), start=1):
        tensors = {}
        for name in names:
            tensors[name] = torch.ones(shapes[name].shape, dtype=torch.bfloat16)
            if tensors[name].dim() > 1:
                tensors[name].normal_(0, SPREAD, generator=generator)
        path = folder / f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        save_file(tensors, path, metadata={"format": "pt"})
        file_of |= dict.fromkeys(names, path.name)
        print(f"{number} of {len(groups)} files", file=sys.stderr)
    index = {"metadata": {}, "weight_map": file_of}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


if __name__ == "__main__":
    from tunesmith.models.resolve import resolve

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SHAPES)
    print(make(parser.parse_args().size, resolve("smollm2-135m-instruct")))
