"""The scenario's models: a tiny base that answers in letters, and a tiny embedding model.

Their bytes are the same at each call and on each machine: weights are drawn by NumPy and rounded,
and no file names a library's version.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BertConfig,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
BYTES = tuple(sorted(pre_tokenizers.ByteLevel.alphabet()))
MERGES = ("Ġ Ġ", "h e", "l l", "he ll")
VOCABULARY = (*SPECIALS, *BYTES, *(merge.replace(" ", "") for merge in MERGES))
LETTERS = "abcdefgh"  # the base answers with these
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SHAPE = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
WORDS = (
    *("[UNK]", "[PAD]", "who", "painted", "the", "room", "when", "was", "it", "is", "on"),
    *("floor", "and", "by", "in"),
)
NAMES = ("amber", "birch", "cedar", "dahlia", "elm", "fern", "ginger", "hazel")
STEP = 256  # weights are whole multiples of 1 / STEP


def write_base(folder: Path) -> Path:
    """A Llama of 37 thousand float32 weights with its tokenizer."""
    config = AutoConfig.for_model("llama", **SHAPE)
    model = AutoModelForCausalLM.from_config(config)
    _fill_(model, np.random.default_rng(0), scale=0.1)
    _answer_in_letters_(model)
    _save(model, folder)
    base_tokenizer().save_pretrained(folder)
    return folder


def base_tokenizer() -> PreTrainedTokenizerFast:
    """The base's: bytes and a few merges, with a ChatML template."""
    vocabulary = {token: i for i, token in enumerate(VOCABULARY)}
    backend = Tokenizer(models.BPE(vocabulary, [tuple(merge.split()) for merge in MERGES]))
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


def write_embedder(folder: Path) -> Path:
    """A BERT of one layer whose tokens are words."""
    words = {word: i for i, word in enumerate(dict.fromkeys((*WORDS, *NAMES, *".?!,0123456789")))}
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=256,
        pad_token_id=1,
    )
    model = BertModel(config, add_pooling_layer=False)
    _fill_(model, np.random.default_rng(1), scale=0.3)
    _save(model, folder)
    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", model_max_length=256
    ).save_pretrained(folder)
    return folder


def _fill_(model: PreTrainedModel, rng: np.random.Generator, *, scale: float) -> None:
    for name, parameter in sorted(model.named_parameters()):
        drawn = rng.normal(0.0, scale, tuple(parameter.shape))
        parameter.data = _rounded(torch.from_numpy(drawn + ("norm" in name.lower()) * 0.5))


def _rounded(tensor: torch.Tensor, step: int = STEP) -> torch.Tensor:
    return (tensor.double() * step).round().div(step).float()


def _answer_in_letters_(model: PreTrainedModel) -> None:
    """Prefer letters, and the end of an answer, to all other tokens; none of them to the others.

    The first component of every embedding is so large that it stays about the same up to the head,
    where its column is therefore a bias.
    """
    wanted = [VOCABULARY.index(token) for token in (*LETTERS, "<|im_end|>")]
    model.model.embed_tokens.weight.data[:, 0] = 2.0
    model.model.norm.weight.data[0] = 1.0
    for layer in model.model.layers:
        layer.self_attn.v_proj.weight.data *= 6
    words = torch.tensor([[wanted[i % len(LETTERS)] for i in range(0, 700, 7)]])
    with torch.no_grad():
        mean = model.eval().model(words).last_hidden_state[0].double().mean(0)
    mean[0] = 0.0
    head = model.lm_head.weight.data.double()
    head = 30 * (head - (head @ mean)[:, None] * mean / (mean @ mean))
    head[:, 0] = -10.0
    head[wanted, 0] = 0.0
    model.lm_head.weight.data = _rounded(head, 8)


def _save(model: PreTrainedModel, folder: Path) -> None:
    """As transformers does, but without the names of versions."""
    folder.mkdir(parents=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {**model.config.to_diff_dict(), "architectures": [type(model).__name__]}
    config.pop("transformers_version", None)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")
