"""A .gguf file turned, once, into a bfloat16 safetensors folder that loads in a second."""

import functools
import json
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tunesmith.errors import ModelError
from tunesmith.models.cache import Emit, ignore, publish
from tunesmith.models.catalog import converted_folder
from tunesmith.models.gguf_header import Header, check_magic, read_header
from tunesmith.models.gguf_tokenizer import mend_tokenizer_, same_tokenizer
from tunesmith.models.hashes import file_sha256
from tunesmith.models.quiet import quiet_transformers

LARGEST_GEMMA = {"gemma2": 46, "gemma3_text": 62}  # layers


def query_scale(config: PretrainedConfig) -> int:
    """What llama.cpp scales Gemma's queries by: D / H in the largest size, or the head's width."""
    if config.num_hidden_layers == LARGEST_GEMMA[config.model_type]:
        return int(config.hidden_size // config.num_attention_heads)
    return int(config.head_dim)


def convert_cached(path: Path, *, emit: Emit = ignore) -> Path:
    """The folder of the base in this .gguf file, converted the first time its content is seen."""
    check_magic(path)
    digest = file_sha256(path)
    folder = converted_folder(path.stem, sha256=digest)

    def fill(partial: Path) -> None:
        emit(f"Converting {path.name} to bfloat16, once for this file.")
        convert(path, into=partial)
        origin = {"source": path.name, "sha256": digest}
        text = json.dumps(origin, indent=2) + "\n"
        (partial / "origin.json").write_text(text, encoding="utf-8")

    return publish(folder, fill=fill, emit=emit)


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
    mend_tokenizer_(tokenizer, header)
    return tokenizer
