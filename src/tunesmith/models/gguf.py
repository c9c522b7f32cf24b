"""How is a .gguf file converted, once, to a safetensors folder with the same tokenizer?"""

import functools
import json
from pathlib import Path

import torch
from tokenizers import Regex, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from tunesmith.core.errors import ModelError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.models.cache import publish
from tunesmith.models.catalog import converted_folder
from tunesmith.models.gguf_header import Header, check_magic, read_header
from tunesmith.models.hashes import file_sha256
from tunesmith.models.quiet import quiet_transformers

_READY = frozenset({"llama-bpe", "llama3", "llama-v3", "tekken", "qwen2", "gpt-2"})
"""Rules for cutting text into words which transformers applies by itself."""

_DIGIT_BY_DIGIT = frozenset({"smollm", "starcoder"})
"""Rules which it takes for GPT-2's, so that a number after two spaces comes out wrong."""

_WHOLE_WORDS_FIRST = frozenset({"llama-bpe", "llama3", "llama-v3", "tekken"})
"""Vocabularies in which a word that is a token stays whole even if no merge leads there."""

_WRITTEN = ("smollm", "gpt-2", "qwen2", "llama-bpe", "tekken")
"""One name of each rule that differs, for files that are written."""

_PROBES = (
    "a  1",
    "   12 + 345.6\n\n\tif x:\n        return 0x1F",
    "Don't we're  naïve – 漢字 한국어 🙂 \u200b",
    "<|im_start|>user\n</s> <s>[INST] Hi <end_of_turn>\n",
)


_CUTS = (
    *_PROBES,
    "DON'T can'T HelloWORLD fooBar  .\n\n//\n/ !?\r\n 1234567 e\u0301a\u0301 ﷽\u0bcd٣४",
)
"""Texts that any two of the rules cut differently, one of them at least."""


def fix_tokenizer_(tokenizer: PreTrainedTokenizerBase, header: Header) -> None:
    """Set what transformers does not take from the file; raises ModelError where it is unknown."""
    if header.context is not None:
        tokenizer.model_max_length = header.context
    if header.tokenizer != "gpt2":
        return
    rule = header.pre_tokenizer
    if rule not in _READY | _DIGIT_BY_DIGIT:
        raise ModelError(
            f"The rule {rule!r} for cutting text into words is not supported; "
            f"supported: {', '.join(sorted(_READY | _DIGIT_BY_DIGIT))}.",
            remedy="Use the model's safetensors folder instead.",
        )
    backend = tokenizer.backend_tokenizer
    if rule in _DIGIT_BY_DIGIT:
        backend.pre_tokenizer = cutter(rule)
    if rule in _WHOLE_WORDS_FIRST and isinstance(backend.model, models.BPE):
        backend.model.ignore_merges = True


def cutter(rule: str) -> pre_tokenizers.PreTokenizer:
    """What cuts text into words, in the byte alphabet, by a rule of this name."""
    if rule in GGUF_PRE_TOKENIZER_SPLITS:
        split = pre_tokenizers.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[rule]), behavior="isolated")
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([split, plain])
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if rule in _DIGIT_BY_DIGIT:
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, words])
    return words


def rule_of(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The rule by which a byte-level tokenizer cuts text into words; None for one not known here.

    Found by what becomes of difficult texts, as vocabularies differ where rules do not.
    """
    backend = tokenizer.backend_tokenizer
    found = backend.pre_tokenizer
    whole_words = isinstance(backend.model, models.BPE) and backend.model.ignore_merges
    for rule in _WRITTEN if found is not None else ():
        known = cutter(rule)
        cut_alike = all(
            found.pre_tokenize_str(text) == known.pre_tokenize_str(text) for text in _CUTS
        )
        if cut_alike and whole_words == (rule in _WHOLE_WORDS_FIRST):
            return rule
    return None


def same_tokenizer(a: PreTrainedTokenizerBase, b: PreTrainedTokenizerBase) -> bool:
    """Whether both cut difficult text alike and agree on special tokens and the chat template."""
    try:
        cut_alike = all(a.encode(text) == b.encode(text) for text in _PROBES)
    except Exception:  # its encoder in Rust raises plain Exception where a vocabulary has holes
        return False
    return (
        cut_alike
        and a.special_tokens_map == b.special_tokens_map
        and a.chat_template == b.chat_template
        and a.get_vocab() == b.get_vocab()
    )


LARGEST_GEMMA = {"gemma2": 46, "gemma3_text": 62}  # layers


def query_scale(config: PretrainedConfig) -> int:
    """What llama.cpp scales Gemma's queries by: D / H in the largest size, or the head's width."""
    if config.num_hidden_layers == LARGEST_GEMMA[config.model_type]:
        return int(config.hidden_size // config.num_attention_heads)
    return int(config.head_dim)


def convert_cached(path: Path, *, progress: Progress = SILENT) -> Path:
    """The folder of the base in this .gguf file, converted the first time its content is seen."""
    check_magic(path)
    digest = file_sha256(path)
    folder = converted_folder(path.stem, sha256=digest)

    def fill(partial: Path) -> None:
        progress.phase(f"Converting {path.name} to bfloat16, once for this file.")
        convert(path, into=partial)
        origin = {"source": path.name, "sha256": digest}
        text = json.dumps(origin, indent=2) + "\n"
        (partial / "origin.json").write_text(text, encoding="utf-8")

    return publish(folder, fill=fill, progress=progress)


def convert(path: Path, *, into: Path) -> None:
    """Write model, generation config, tokenizer and chat template of a .gguf file to ``into``.

    Raises ModelError for a damaged file, an architecture that is not supported, and anything in
    the file that the result would lose.
    """
    header = read_header(path)
    with quiet_transformers():
        tokenizer = _tokenizer(path, header)
        model = _model(path, header, tokenizer)
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)
        if not same_tokenizer(tokenizer, AutoTokenizer.from_pretrained(into)):
            raise ModelError(
                f"{path}: the tokenizer does not survive conversion: it encodes otherwise.",
                remedy="Use the model's safetensors folder instead.",
            )


def _model(path: Path, header: Header, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The dequantised model in bfloat16, in an object that may be saved (GGUF's own may not)."""
    load = functools.partial(AutoModelForCausalLM.from_pretrained, path.parent)
    try:
        loaded, report = load(gguf_file=path.name, dtype=torch.bfloat16, output_loading_info=True)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot be dequantised: {error}") from error
    if lost := sorted({*report["missing_keys"], *map(str, report["mismatched_keys"])}):
        raise ModelError(f"{path}: has no weights for {', '.join(lost[:8])} ({len(lost)} in all).")
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    if config.model_type in LARGEST_GEMMA:
        config.query_pre_attn_scalar = query_scale(config)  # which no file holds
    with torch.device("meta"):  # no second copy: the tensors below take its place
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.load_state_dict(loaded.state_dict(), strict=True, assign=True)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=header.stop_ids or None,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model


def _tokenizer(path: Path, header: Header) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: its tokenizer cannot be read: {error}") from error
    fix_tokenizer_(tokenizer, header)
    return tokenizer
