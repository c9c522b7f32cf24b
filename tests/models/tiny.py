"""Tiny random bases and GGUF files, made in code."""

import json
from pathlib import Path

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, GGMLQuantizationType, GGUFWriter, get_tensor_name_map, quants
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}"
)
MERGES = ("Ġ Ġ", "h e", "l l", "he ll")
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())
VOCAB = (*SPECIALS, *LETTERS, *(merge.replace(" ", "") for merge in MERGES))
# As many pieces in the other kind of vocabulary, the one that Gemma's files have.
PIECES = ("<pad>", "<bos>", "<eos>", "<unk>", *(f"<0x{n:02X}>" for n in range(256)), "▁", "h", "▁h")
SHAPE = {
    "vocab_size": len(VOCAB),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


def tiny_model(kind="llama", **changes):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SHAPE, **changes}))
    for name, tensor in model.named_parameters():
        # Ones would hide whether a norm is stored shifted; bf16 values survive the round trip.
        shift = 0.5 if "norm" in name else 0.0
        tensor.data = (torch.randn_like(tensor) * 0.1 + shift).bfloat16().float()
    return model.eval()


def tiny_tokenizer():
    vocab = {token: i for i, token in enumerate(VOCAB)}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[tuple(m.split()) for m in MERGES]))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=["<|endoftext|>"],
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_folder(path: Path, kind="llama", **changes) -> Path:
    tiny_model(kind, **changes).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def write_gguf(path: Path, model, *, pre="smollm", quantise=False, rotary=None, **added) -> Path:
    """``model`` as llama.cpp's converter would write it."""
    config = model.config
    kind = config.model_type.removesuffix("_text")
    writer = GGUFWriter(path, kind)
    write_settings(writer, config, kind, rotary)
    if kind.startswith("gemma"):
        write_pieces(writer)
    else:
        write_vocabulary(writer, pre)
    for key, value in added.get("extra", {}).items():
        writer.add_key_value(key, value[0], value[1])
    for name, tensor in {**gguf_tensors(model, kind), **added.get("more", {})}.items():
        if quantise and tensor.ndim == 2:
            packed = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quants.quantize(tensor, packed), raw_dtype=packed)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_settings(writer, config, kind, rotary):
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope.get("rope_theta") or rope["full_attention"]["rope_theta"])
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if kind != "phi3":
        writer.add_key_length(head)
        writer.add_value_length(head)
    if kind.startswith("gemma"):
        writer.add_sliding_window(config.sliding_window)
    else:
        writer.add_rope_dimension_count(rotary or head)


def write_vocabulary(writer, pre):
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(VOCAB)
    writer.add_token_types([3] * len(SPECIALS) + [1] * (len(VOCAB) - len(SPECIALS)))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def write_pieces(writer):
    writer.add_tokenizer_model("llama")
    writer.add_token_list(PIECES)
    writer.add_token_scores([0.0] * (len(PIECES) - 1) + [-1.0])
    writer.add_token_types([3, 3, 3, 2] + [6] * 256 + [1] * 3)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)


def gguf_tensors(model, kind) -> dict[str, np.ndarray]:
    arch = next(key for key, value in MODEL_ARCH_NAMES.items() if value == kind)
    names = get_tensor_name_map(arch, model.config.num_hidden_layers)
    tied = model.config.tie_word_embeddings
    tensors = {}
    for name, tensor in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        stem, _, suffix = name.rpartition(".")
        values = tensor.float().numpy()
        if kind == "llama" and ("q_proj" in name or "k_proj" in name):
            config = model.config
            query = "q_proj" in name
            values = interleave(
                values, config.num_attention_heads if query else config.num_key_value_heads
            )
        if kind.startswith("gemma") and "norm" in name:
            values = values + 1
        tensors[f"{names.get_name(stem)}.{suffix}"] = np.ascontiguousarray(values)
    return tensors


def interleave(values, heads):
    """llama.cpp rotates neighbouring pairs, transformers the two halves of a head."""
    rows, columns = values.shape
    halves = values.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)
