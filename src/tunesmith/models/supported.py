"""Which kinds of model can be a base, judged by their config before any weight is read."""

from pathlib import Path

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tunesmith.errors import ModelError


def check_config(config: PretrainedConfig, folder: Path) -> None:
    """Raise ModelError, naming the reason, if this config is not one of a plain language model."""
    kind = config.model_type
    brings_code = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    loaded_as = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    if loaded_as is None and not brings_code:
        raise ModelError(
            f"{folder}: model_type {kind!r} is not a language model that writes on from a text.",
            remedy="Take a base whose config.json names a ...ForCausalLM architecture.",
        )
    if "ConditionalGeneration" in str(loaded_as):
        raise ModelError(
            f"{folder}: model_type {kind!r} is not supported yet: it is loaded as {loaded_as}, "
            "a model of images and text whose weights have other names.",
            remedy="Take a text-only base; of Gemma 3, the sizes 270M and 1B (gemma3_text).",
        )
    quantised = _quantisation(config)
    if quantised and not is_four_bit(config):
        raise ModelError(
            f"{folder}: its weights are already quantised ({quantised.get('quant_method')}), "
            "which is not supported; only bitsandbytes' 4 bit is.",
            remedy="Take the 16-bit base; method qlora quantises it to 4 bit while loading.",
        )


def is_four_bit(config: PretrainedConfig) -> bool:
    """Whether a config says that the weights are in bitsandbytes' 4 bit already."""
    quantised = _quantisation(config)
    return quantised.get("quant_method") == "bitsandbytes" and bool(quantised.get("load_in_4bit"))


def _quantisation(config: PretrainedConfig) -> dict[str, object]:
    given = getattr(config, "quantization_config", None) or {}
    values: dict[str, object] = given if isinstance(given, dict) else given.to_dict()
    return values
