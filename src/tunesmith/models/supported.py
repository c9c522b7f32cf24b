"""Can this folder be a base? Checked before any weight is read, with a remedy where not."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from tunesmith.core.errors import ModelError
from tunesmith.models.text_part import is_whole
from tunesmith.models.whole_classes import WHOLE_CLASSES

_PLAIN_REMEDY = "Use a base whose config.json names a ...ForCausalLM architecture."
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_PICKLE_REMEDY = (
    "Opening a pickle file can run code, so it is never done. If you trust its source, convert it: "
    "`safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors', "
    "metadata={'format': 'pt'})`."
)


def check_folder(folder: Path) -> Path:
    """``folder``, if it holds a config and whole safetensors; else ModelError with every fault."""
    names = _listing(folder)
    if "adapter_config.json" in names and "config.json" not in names:
        raise ModelError(f"{folder}: is an adapter{_base_of(folder)}.", remedy="Name its base.")
    weights = sorted(folder.glob("*.safetensors"))
    faults = [] if "config.json" in names else ["there is no config.json"]
    faults += [fault for path in weights if (fault := _tensor_fault(path))]
    faults += _missing_shards(folder, names)
    pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    remedy = "A base is a folder with config.json, *.safetensors and a tokenizer."
    if not weights and pickles:
        faults.append(f"its weights are pickle files ({', '.join(pickles[:3])})")
        remedy = _PICKLE_REMEDY
    elif not weights:
        faults.append("there are no *.safetensors")
    if faults:
        why = "; ".join(faults)
        raise ModelError(f"{folder}: cannot be used as a base: {why}.", remedy=remedy)
    return folder


def _listing(folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read: {error.strerror}.") from error


def _tensor_fault(path: Path) -> str | None:
    """Why a safetensors file cannot be used; its header says how long the file must be."""
    try:
        with safe_open(path, framework="numpy"):
            return None
    except (SafetensorError, OSError, ValueError) as error:
        return f"{path.name} is damaged, cut short or unreadable ({error})"


def _missing_shards(folder: Path, names: frozenset[str]) -> list[str]:
    """Files that an index of shards names and that are not there."""
    index = folder / "model.safetensors.index.json"
    if index.name not in names:
        return []
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return [f"{index.name} cannot be read ({error})"]
    missing = sorted(map(str, shards - names))
    text = f"missing shards ({len(missing)} of {len(shards)}): {', '.join(missing[:3])}"
    return [text] if missing else []


def _base_of(adapter: Path) -> str:
    try:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        return f", made for {config['base_model_name_or_path']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def check_config(config: PretrainedConfig, folder: Path) -> None:
    """Raise ModelError, naming the reason, if this config is not one of a language model."""
    kind = config.model_type
    if config.is_encoder_decoder or not hasattr(type(config.get_text_config()), "vocab_size"):
        what = (
            "has an encoder beside its decoder: its answers do not continue a text"
            if config.is_encoder_decoder
            else "reads images or sound and has no language model"
        )
        raise ModelError(f"{folder}: model_type {kind!r} {what}.", remedy=_PLAIN_REMEDY)
    brings_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    loaded_as = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    whole = loaded_as or MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(kind)
    if "ConditionalGeneration" in str(whole) and not is_whole(config):
        raise ModelError(
            f"{folder}: model_type {kind!r} is not supported: it is loaded as {whole}, a class of "
            "text and more whose text part is not known here.",
            remedy=f"Use a text-only base, or one of {', '.join(WHOLE_CLASSES)}.",
        )
    if whole is None and not brings_code:
        raise ModelError(
            f"{folder}: model_type {kind!r} is not a language model that continues a text.",
            remedy=_PLAIN_REMEDY,
        )
    quantized = _quantization(config)
    if quantized and not is_four_bit(config) and not is_mxfp4(config):
        raise ModelError(
            f"{folder}: its weights are already quantized ({quantized.get('quant_method')}), "
            "which is not supported; only bitsandbytes' 4-bit and MXFP4 are.",
            remedy="Use the 16-bit base; method qlora quantizes it to 4-bit while loading.",
        )


def is_four_bit(config: PretrainedConfig) -> bool:
    """Whether a config states that the weights are already in bitsandbytes' 4-bit format."""
    quantized = _quantization(config)
    return quantized.get("quant_method") == "bitsandbytes" and bool(quantized.get("load_in_4bit"))


def is_mxfp4(config: PretrainedConfig) -> bool:
    """Whether a config states that the experts are in MXFP4, as gpt-oss is published."""
    return _quantization(config).get("quant_method") == "mxfp4"


def _quantization(config: PretrainedConfig) -> dict[str, object]:
    given = getattr(config, "quantization_config", None) or {}
    values: dict[str, object] = given if isinstance(given, dict) else given.to_dict()
    return values
