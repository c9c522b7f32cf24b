"""The model families that run through the packed stream: one table of what each of them needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tunesmith.core.errors import ModelError
from tunesmith.models.whole_classes import WHOLE_CLASSES

if TYPE_CHECKING:  # so that the table of known bases is shown without loading it
    from transformers import PretrainedConfig

Windows = Literal["none", "some layers", "all layers"]


@dataclass(frozen=True, slots=True)
class Family:
    """What a model type needs of the packed stream, and what its layers have that others' lack.

    ``models`` are known names of it. ``windows``: the layers that see only the last tokens, where
    the config sets a window; those of `some layers` are named by its `layer_types`. ``multiplier``
    and ``divisor`` are the config's keys by which the head's scores are multiplied or divided.
    """

    models: str
    windows: Windows = "none"
    traits: tuple[str, ...] = ()
    multiplier: str | None = None
    divisor: str | None = None


# Contract 1 holds each to transformers' own forward, with the tiny config of tests/families.py.
FAMILIES: Mapping[str, Family] = {
    "llama": Family("Llama 2 to 3.3, SmolLM2, TinyLlama, DeepSeek-R1-Distill", traits=("bias",)),
    "qwen2": Family("Qwen2, Qwen2.5, QwQ", "some layers", ("bias",)),
    "qwen3": Family("Qwen3", "some layers", ("query norm",)),
    "mistral": Family("Mistral 7B, Nemo, Small", "all layers"),
    "ministral": Family("Ministral 8B of 2024", "some layers"),
    "ministral3": Family("the text side of Ministral 3", traits=("scaled queries",)),
    "gemma2": Family("Gemma 2", "some layers", ("caps", "shifted norm", "norm after")),
    "gemma3_text": Family(
        "Gemma 3 270M and 1B", "some layers", ("query norm", "shifted norm", "norm after")
    ),
    "gemma4_text": Family(
        "Gemma 4 (text) without experts",
        "some layers",
        ("query norm", "norm after", "shared keys", "keys of several widths", "inputs by layer"),
    ),
    "gemma3n_text": Family(
        "Gemma 3n (text)",
        "some layers",
        ("query norm", "norm after", "shared keys", "inputs by layer", "predicted streams"),
    ),
    "phi3": Family("Phi-3, Phi-3.5, Phi-4", "all layers", ("fused",)),
    "olmo2": Family("OLMo 2", traits=("query norm", "norm after")),
    "olmo3": Family("OLMo 3", "some layers", ("query norm", "norm after")),
    "granite": Family("Granite 3", traits=("multipliers",), divisor="logits_scaling"),
    "smollm3": Family("SmolLM3", "some layers", ("layers without rotary",)),
    "exaone4": Family(
        "EXAONE 4", "some layers", ("query norm", "norm after", "layers without rotary")
    ),
    "hyperclovax": Family(
        "HyperCLOVA X SEED Think",
        traits=("multipliers", "norm after"),
        multiplier="logits_scaling",
    ),
    "glm4": Family("GLM-4-0414", traits=("fused", "norm after", "partial rotary")),
    "cohere2": Family(
        "Command R7B, Command A",
        "some layers",
        ("layers without rotary", "parallel blocks", "mean norm"),
        multiplier="logit_scale",
    ),
    "seed_oss": Family("Seed-OSS", traits=("bias",)),
    "ernie4_5": Family("ERNIE 4.5 0.3B", traits=("neighbours rotated",)),
    "arcee": Family("AFM 4.5B", traits=("plain feedforward",)),
    "apertus": Family("Apertus", traits=("plain feedforward", "query norm")),
    "qwen3_5_text": Family(
        "the text side of Qwen3.5",
        traits=("query norm", "shifted norm", "partial rotary", "recurrent state"),
    ),
    "granitemoehybrid": Family(
        "Granite 4.0 H: 350M, 1B, Micro; with experts Tiny and Small",
        traits=("multipliers", "layers without rotary", "fused", "recurrent state"),
        divisor="logits_scaling",
    ),
    "lfm2": Family("LFM2: 350M to 2.6B", traits=("query norm", "recurrent state")),
    "mixtral": Family("Mixtral 8x7B, 8x22B", "all layers", ("experts",)),
    "qwen3_moe": Family("Qwen3 30B-A3B, 235B-A22B", "all layers", ("experts", "query norm")),
    "olmoe": Family("OLMoE 1B-7B", traits=("experts", "query norm")),
    "granitemoe": Family(
        "Granite 3 1B-A400M, 3B-A800M", traits=("experts", "multipliers"), divisor="logits_scaling"
    ),
    "gpt_oss": Family("gpt-oss 20B, 120B", "some layers", ("experts", "sinks", "bias")),
}
"""By transformers' model_type."""

SUPPORTED = frozenset((*FAMILIES, *WHOLE_CLASSES))
"""These, and the classes whose language model is one of them."""

TRIED: dict[str, Family] = {}
"""Those of this process that are not in the table and kept its contracts (`engine/trial.py`)."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a family does to h W^T: softcap * tanh(scale * z / softcap)."""

    scale: float = 1.0
    softcap: float | None = None


def family_of(config: "PretrainedConfig") -> Family:
    """The family of a base's config; raises ModelError for one that is not supported."""
    found = FAMILIES.get(config.model_type) or TRIED.get(config.model_type)
    if found is None:
        raise ModelError(
            f"Model family `{config.model_type}` is not supported.",
            remedy="`tunesmith model list --families` shows those that are; `--explain MODEL` "
            "tries another one on a tiny model and reports what it lacks.",
        )
    if getattr(config, "enable_moe_block", False):
        raise ModelError(
            f"`{config.model_type}` with experts beside its feedforward layers is not supported.",
            remedy="Use a size of the family without experts (enable_moe_block: false).",
        )
    if getattr(config, "use_bidirectional_attention", None) not in (None, False, "vision"):
        raise ModelError(
            f"`{config.model_type}` with attention in both directions generates no text."
        )
    return found


def supported() -> str:
    """The names of all families, for a message."""
    return ", ".join(sorted(FAMILIES))


def head_scores(config: "PretrainedConfig", family: Family) -> Scores:
    """What the family's head does."""
    scale = 1.0
    if family.multiplier is not None:
        scale *= float(getattr(config, family.multiplier))
    if family.divisor is not None:
        scale /= float(getattr(config, family.divisor))
    return Scores(scale, getattr(config, "final_logit_softcapping", None))


def layer_windows(config: "PretrainedConfig") -> list[int | None]:
    """The sliding window of each layer, its own position counted; None: no window."""
    layers, windows = int(config.num_hidden_layers), family_of(config).windows
    if windows == "none":
        return [None] * layers
    if windows == "all layers":
        return [config.sliding_window] * layers
    kinds = config.layer_types[:layers]
    return [config.sliding_window if kind == "sliding_attention" else None for kind in kinds]


def keyless_layers(config: "PretrainedConfig") -> list[int]:
    """The layers that keep a recurrent state of a text instead of its keys and values."""
    kinds = getattr(config, "layer_types", None) or ()
    return [layer for layer, kind in enumerate(kinds) if kind in ("linear_attention", "conv")]


@dataclass(frozen=True, slots=True)
class LayerKeys:
    """The keys and values that a layer sees: G key ``heads`` of ``width`` Dh; none: 0 of them.

    ``source`` is the layer that computes them: an earlier one where layers share them.
    """

    source: int
    heads: int
    width: int


def layer_keys(config: "PretrainedConfig") -> list[LayerKeys]:
    """Whose keys and values each layer sees, and their shape."""
    found: list[LayerKeys] = []
    last: dict[str, int] = {}  # by kind of layer
    modes = getattr(config, "kv_sharing_modes", None) or [None] * config.num_hidden_layers
    keyless = keyless_layers(config)
    for layer, mode in enumerate(modes):
        if layer in keyless:
            found.append(LayerKeys(layer, 0, 0))
            continue
        if mode == "reuse":
            found.append(found[last[config.layer_types[layer]]])
            continue
        if mode == "store":
            last[config.layer_types[layer]] = layer
        own = config.per_layer_config[layer]
        width = getattr(own, "head_dim", None) or own.hidden_size // own.num_attention_heads
        heads = getattr(own, "num_key_value_heads", None) or own.num_attention_heads
        found.append(LayerKeys(layer, heads, width))
    return found
