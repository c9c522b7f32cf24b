"""A .gguf file, converted once to a safetensors folder with the same tokenizer, or refused."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from gguf import GGUFReader
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
from tunesmith.models.hashes import file_sha256
from tunesmith.models.quiet import quiet_transformers

_CARRIED = frozenset(
    {
        "context_length",
        "block_count",
        "feed_forward_length",
        "embedding_length",
        "vocab_size",
        "rope.freq_base",
        "rope.dimension_count",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "attention.layer_norm_rms_epsilon",
    }
)
_GEMMA = _CARRIED | {"attention.sliding_window"}
ARCHITECTURES: Mapping[str, frozenset[str]] = {
    "llama": _CARRIED,
    "qwen2": _CARRIED,
    "qwen3": _CARRIED,
    "gemma2": _GEMMA,
    "gemma3": _GEMMA,
    "phi3": _CARRIED,
}
"""Architecture in the file: the settings that reach the converted config."""

_SAME_AS_DEFAULT: Mapping[str, object] = {
    "gemma2.attn_logit_softcapping": 50.0,
    "gemma2.final_logit_softcapping": 30.0,
    "rope.scaling.type": "none",
    "attention.causal": True,
    "expert_count": 0,
    "expert_used_count": 0,
}
"""Settings that do not reach the config (with the prefix of an architecture where they are only its
own), and the one value with which nothing is lost."""

_STOP_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


@dataclass(frozen=True, slots=True)
class Header:
    """The metadata of a .gguf file, without its tensors and token lists."""

    context: int | None
    tokenizer: str
    pre_tokenizer: str | None
    stop_ids: list[int]


def read_header(path: Path) -> Header:
    """The file's metadata; raises ModelError if it is damaged or a conversion would lose part."""
    values, tensors = _read(path)
    architecture = str(values.get("general.architecture", "unknown"))
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"{path}: architecture {architecture!r} is not supported as GGUF; "
            f"supported: {', '.join(ARCHITECTURES)}.",
            remedy="Use the model's safetensors folder instead.",
        )
    if lost := _lost(architecture, values, tensors):
        raise ModelError(
            f"{path}: a conversion would lose {', '.join(lost)}.",
            remedy="Use the model's safetensors folder instead.",
        )
    stop_ids = [values.get(f"tokenizer.ggml.{key}") for key in _STOP_KEYS]
    context = values.get(f"{architecture}.context_length")
    return Header(
        context=context if isinstance(context, int) else None,
        tokenizer=str(values.get("tokenizer.ggml.model")),
        pre_tokenizer=None if (pre := values.get("tokenizer.ggml.pre")) is None else str(pre),
        stop_ids=list(dict.fromkeys(n for n in stop_ids if isinstance(n, int))),
    )


def check_magic(path: Path) -> None:
    """Raise ModelError unless the file can be read and starts as a GGUF file does."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}.") from error
    if magic != b"GGUF":
        raise ModelError(f"{path}: is not a GGUF file (it does not start with `GGUF`).")


def _read(path: Path) -> tuple[dict[str, object], frozenset[str]]:
    """Scalars of the metadata, and names of the tensors."""
    check_magic(path)
    try:
        reader = GGUFReader(path)
        # types[0] is ARRAY for lists: vocabularies are long and not needed here.
        values = {
            key: field.contents() for key, field in reader.fields.items() if len(field.types) == 1
        }
        return values, frozenset(tensor.name for tensor in reader.tensors)
    except Exception as error:  # a damaged file makes the reader raise anything
        raise ModelError(
            f"{path}: is damaged or cut short ({path.stat().st_size:,} bytes): {error}.",
            remedy="Fetch the file again.",
        ) from error


def _lost(architecture: str, values: Mapping[str, object], tensors: frozenset[str]) -> list[str]:
    """What the file holds and the converted base would lack."""
    lost = [n for n in sorted(tensors) if n.startswith("rope_f") or _is_strange(n, architecture)]
    prefix = f"{architecture}."
    for key, value in values.items():
        setting = key.removeprefix(prefix)
        if setting == key or setting in ARCHITECTURES[architecture]:
            continue
        default = _SAME_AS_DEFAULT.get(key, _SAME_AS_DEFAULT.get(setting))
        if default is None or default != value:
            lost.append(f"{key} = {value}")
    rotary, width = values.get(f"{prefix}rope.dimension_count"), _head_width(prefix, values)
    if rotary is not None and width is not None and rotary != width:
        lost.append(f"{prefix}rope.dimension_count = {rotary} of {width}")
    return lost


def _is_strange(tensor: str, architecture: str) -> bool:
    """Whether a tensor is a bias that transformers' model of this architecture has no place for."""
    known = {"attn_q", "attn_k", "attn_v"} if architecture == "qwen2" else ()
    return tensor.endswith(".bias") and tensor.split(".")[-2] not in known


def _head_width(prefix: str, values: Mapping[str, object]) -> int | None:
    given = values.get(f"{prefix}attention.key_length")
    width = values.get(f"{prefix}embedding_length")
    heads = values.get(f"{prefix}attention.head_count")
    if isinstance(given, int):
        return given
    return width // heads if isinstance(width, int) and isinstance(heads, int) and heads else None


_READY = frozenset(
    {"llama-bpe", "llama3", "llama-v3", "tekken", "qwen2", "gpt-2", "dbrx", "gpt-4o", "qwen35"}
)
"""Rules for splitting text into words that transformers implements."""

_DIGIT_BY_DIGIT = frozenset({"smollm", "starcoder"})
"""Rules that it treats as GPT-2's, so that a number after two spaces is tokenized wrongly."""

_WHOLE_WORDS_FIRST = frozenset({"llama-bpe", "llama3", "llama-v3", "tekken"})
"""Vocabularies in which a word that is a token stays whole even if no merge leads there."""

WRITTEN = ("smollm", "gpt-2", "qwen2", "llama-bpe", "tekken", "dbrx", "gpt-4o", "qwen35")
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
"""Any two of the rules split at least one of these texts differently."""


def fix_tokenizer_(tokenizer: PreTrainedTokenizerBase, header: Header) -> None:
    """Set what transformers does not read from the file; raises ModelError where it is unknown."""
    if header.context is not None:
        tokenizer.model_max_length = header.context
    if header.tokenizer != "gpt2":
        return
    rule = header.pre_tokenizer
    if rule not in _READY | _DIGIT_BY_DIGIT:
        raise ModelError(
            f"The rule {rule!r} for splitting text into words is not supported; "
            f"supported: {', '.join(sorted(_READY | _DIGIT_BY_DIGIT))}.",
            remedy="Use the model's safetensors folder instead.",
        )
    backend = tokenizer.backend_tokenizer
    if rule in _DIGIT_BY_DIGIT:
        backend.pre_tokenizer = cutter(rule)
    if rule in _WHOLE_WORDS_FIRST and isinstance(backend.model, models.BPE):
        backend.model.ignore_merges = True


def cutter(rule: str) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer that splits text into words, in the byte alphabet, by the rule."""
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
    """The rule by which a byte-level tokenizer splits text into words; None for an unknown one.

    Found by splitting difficult texts, as vocabularies differ where rules do not.
    """
    backend = tokenizer.backend_tokenizer
    found = backend.pre_tokenizer
    whole_words = isinstance(backend.model, models.BPE) and backend.model.ignore_merges
    for rule in WRITTEN if found is not None else ():
        known = cutter(rule)
        cut_alike = all(
            found.pre_tokenize_str(text) == known.pre_tokenize_str(text) for text in _CUTS
        )
        if cut_alike and whole_words == (rule in _WHOLE_WORDS_FIRST):
            return rule
    return None


def same_tokenizer(a: PreTrainedTokenizerBase, b: PreTrainedTokenizerBase) -> bool:
    """Whether both encode alike, with equal special tokens and chat template."""
    return (
        encodes_alike(a, b)
        and a.special_tokens_map == b.special_tokens_map
        and a.chat_template == b.chat_template
    )


def encodes_alike(a: PreTrainedTokenizerBase, b: PreTrainedTokenizerBase) -> bool:
    """Whether both encode difficult text alike, with the same vocabulary."""
    try:
        cut_alike = all(a.encode(text) == b.encode(text) for text in _PROBES)
    except Exception:  # its encoder in Rust raises plain Exception where a vocabulary has holes
        return False
    return cut_alike and a.get_vocab() == b.get_vocab()


LARGEST_GEMMA = {"gemma2": 46, "gemma3_text": 62}  # layers


def query_scale(config: PretrainedConfig) -> int:
    """llama.cpp's scale of Gemma's queries: D / H in the largest size, else the head's width."""
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
        write_origin(partial, source=path.name, sha256=digest)

    return publish(folder, fill=fill, progress=progress)


def write_origin(folder: Path, **origin: str) -> None:
    """Note in a converted base's folder what it was made from."""
    text = json.dumps(origin, indent=2) + "\n"
    (folder / "origin.json").write_text(text, encoding="utf-8")


def convert(path: Path, *, into: Path) -> None:
    """Write model, generation config, tokenizer and chat template of a .gguf file to ``into``.

    Raises ModelError for a damaged file, an unsupported architecture, and anything in the file that
    the result would lose.
    """
    header = read_header(path)
    with quiet_transformers():
        tokenizer = _tokenizer(path, header)
        model = _model(path, header, tokenizer)
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)
        if not same_tokenizer(tokenizer, AutoTokenizer.from_pretrained(into)):
            raise ModelError(
                f"{path}: the tokenizer encodes differently after conversion.",
                remedy="Use the model's safetensors folder instead.",
            )


def _model(path: Path, header: Header, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The dequantized model in bfloat16, in an object that can be saved (GGUF's own cannot)."""
    load = functools.partial(AutoModelForCausalLM.from_pretrained, path.parent)
    try:
        loaded, report = load(gguf_file=path.name, dtype=torch.bfloat16, output_loading_info=True)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot be dequantized: {error}") from error
    if lost := sorted({*report["missing_keys"], *map(str, report["mismatched_keys"])}):
        raise ModelError(f"{path}: has no weights for {', '.join(lost[:8])} ({len(lost)} in all).")
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    if config.model_type in LARGEST_GEMMA:
        config.query_pre_attn_scalar = query_scale(config)  # which no file holds
    with torch.device("meta"):  # no second copy: the tensors below replace it
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
