"""Which model families can be written as GGUF, with which tensor names and row order?

llama.cpp computes a family from its architecture's name and a few settings. A config key that its
graph does not implement would be lost silently; it is refused here, and the message names it.
Every rule was run through llama.cpp (tests/exports/test_compare.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf import MODEL_ARCH_NAMES, TensorNameMap, get_tensor_name_map
from torch import Tensor
from transformers import PretrainedConfig

from tunesmith.core.errors import ModelError
from tunesmith.models.gguf import query_scale
from tunesmith.models.text_part import config_alone, decoder_name

Lost = Callable[[PretrainedConfig], dict[str, object]]
WITHOUT_FILE = "Export it as a folder (merged or peft)."


@dataclass(frozen=True, slots=True)
class GgufFamily:
    """The name and layout of a transformers family in GGUF.

    ``interleaved``: llama.cpp rotates neighbouring pairs of a head's rows, where transformers
    rotates its two halves. ``norm_shift`` is what transformers adds to a norm's weight and
    llama.cpp does not. ``window_every``: every n-th layer sees the whole text, the others a
    window; ``windows``: which layers do is in the file. ``rotary`` are the kinds of rotary
    frequencies that llama.cpp's graph reads, ``part_rotated`` whether it may rotate a part of a
    head. ``lost`` gives the config's keys, with their values, that a file cannot hold.
    """

    architecture: str
    interleaved: bool = False
    norm_shift: float = 0.0
    window_every: int | None = None
    windows: bool = False
    rotary: frozenset[str] = frozenset({"default"})
    part_rotated: bool = False
    lost: Lost = field(kw_only=True)


def family_of(config: PretrainedConfig, source: Path) -> GgufFamily:
    """The family of a base's config; ModelError for one that cannot be written as GGUF."""
    family = FAMILIES.get(config.model_type)
    if family is None:
        reason = NOT_WRITTEN.get(config.model_type, "it was not compared with llama.cpp here")
        raise ModelError(
            f"{source}: a base of type {config.model_type!r} cannot be written as GGUF: {reason}. "
            f"{', '.join(FAMILIES)} can.",
            remedy=WITHOUT_FILE,
        )
    lost = {**_lost_rotary(config, family), **family.lost(config)}
    if getattr(config, "quantization_config", None):
        lost["quantization_config"] = "4-bit"
    if lost:
        shown = ", ".join(f"{key} = {value}" for key, value in lost.items())
        raise ModelError(
            f"{source}/config.json: llama.cpp's {family.architecture} does not support {shown}.",
            remedy=WITHOUT_FILE,
        )
    return family


def head_width(config: PretrainedConfig) -> int:
    """Dh, the width of a head."""
    given = getattr(config, "head_dim", None)
    return int(given or config.hidden_size // config.num_attention_heads)


def rotary(config: PretrainedConfig, kind: str = "full_attention") -> Mapping[str, Any]:
    """The rotary settings of layers of a kind: `rope_theta`, `rope_type`, ..."""
    given = config.rope_parameters
    found: Mapping[str, Any] = given.get(kind, given)
    return found


def rope_type(config: PretrainedConfig, kind: str = "full_attention") -> str:
    """How the rotary frequencies of layers of a kind are made; `default`: not scaled."""
    return str(rotary(config, kind).get("rope_type", "default"))


YARN_DEFAULTS = {"beta_fast": 32, "beta_slow": 1, "truncate": True}


def _lost_rotary(config: PretrainedConfig, family: GgufFamily) -> dict[str, object]:
    lost: dict[str, object] = {}
    if (kind := rope_type(config)) not in family.rotary:
        lost["rope_type"] = kind
    share = rotary(config).get("partial_rotary_factor") or 1.0
    if share != 1.0 and not family.part_rotated:
        lost["partial_rotary_factor"] = share
    if kind == "yarn":
        given = {key: rotary(config).get(key) for key in YARN_DEFAULTS}
        odd = {k: v for k, v in given.items() if v is not None and v != YARN_DEFAULTS[k]}
        lost |= odd
    if "sliding_attention" in config.rope_parameters:
        windowed = rope_type(config, "sliding_attention")
        lost |= {"rope_type": windowed} if windowed != "default" else {}
    return lost


def _unless(config: PretrainedConfig, **expected: object) -> dict[str, object]:
    """The keys whose values are not as expected; absent is as expected, and None is False."""
    values = {key: getattr(config, key, value) for key, value in expected.items()}
    return {k: v for k, v in values.items() if v != expected[k] and (v or expected[k])}


def _lost_window(config: PretrainedConfig) -> dict[str, object]:
    """A window in a family that llama.cpp computes without one."""
    window = getattr(config, "sliding_window", None)
    used = getattr(config, "use_sliding_window", True)
    bites = used and window is not None and window < config.max_position_embeddings
    return {"sliding_window": window} if bites else {}


def _lost_plain(config: PretrainedConfig) -> dict[str, object]:
    lost = _unless(config, hidden_act="silu", attention_bias=False, mlp_bias=False)
    return lost | ({} if config.model_type == "llama" else _lost_window(config))


def _lost_gemma(config: PretrainedConfig) -> dict[str, object]:
    lost = _unless(
        config,
        hidden_activation="gelu_pytorch_tanh",
        attention_bias=False,
        use_bidirectional_attention=False,
        layer_types=window_pattern(config),
        query_pre_attn_scalar=query_scale(config),
        tie_word_embeddings=True,
    )
    if config.model_type == "gemma2":
        caps = ("attn_logit_softcapping", "final_logit_softcapping")
        return lost | {key: None for key in caps if getattr(config, key) is None}
    return lost | _unless(config, attn_logit_softcapping=None)


def window_pattern(config: PretrainedConfig) -> list[str]:
    """The kind of each layer, as llama.cpp takes it."""
    every = FAMILIES[config.model_type].window_every
    assert every is not None, "a family without windows"
    return [
        "sliding_attention" if (layer + 1) % every else "full_attention"
        for layer in range(config.num_hidden_layers)
    ]


def _lost_width(config: PretrainedConfig) -> dict[str, object]:
    """Heads that are not D / H wide, in a family whose tensors llama.cpp expects to be so."""
    width = head_width(config)
    fits = width * config.num_attention_heads == config.hidden_size
    return {} if fits else {"head_dim": width}


def _lost_olmo(config: PretrainedConfig) -> dict[str, object]:
    lost = _unless(config, hidden_act="silu", attention_bias=False, tie_word_embeddings=False)
    full, windowed = rotary(config), rotary(config, "sliding_attention")
    if full["rope_theta"] != windowed["rope_theta"]:
        lost["rope_theta"] = windowed["rope_theta"]
    return lost | _lost_width(config)


def _lost_smollm(config: PretrainedConfig) -> dict[str, object]:
    rotated = [int((layer + 1) % 4 != 0) for layer in range(config.num_hidden_layers)]
    return _lost_plain(config) | _unless(config, no_rope_layers=rotated)


EXAONE_WITH_WINDOWS = 64  # layers of the only size for which llama.cpp computes windows


def _lost_exaone(config: PretrainedConfig) -> dict[str, object]:
    lost = _unless(config, hidden_act="silu") | _lost_width(config)
    if (config.sliding_window is not None) != (config.num_hidden_layers == EXAONE_WITH_WINDOWS):
        lost["sliding_window"] = config.sliding_window
    return lost


def _lost_cohere(config: PretrainedConfig) -> dict[str, object]:
    lost = _unless(
        config, hidden_act="silu", attention_bias=False, use_qk_norm=False, tie_word_embeddings=True
    )
    return lost | _lost_width(config)


def _lost_phi(config: PretrainedConfig) -> dict[str, object]:
    return _unless(config, hidden_act="silu") | _lost_width(config) | _lost_window(config)


def _lost_seed(config: PretrainedConfig) -> dict[str, object]:
    return _unless(config, hidden_act="silu", attention_out_bias=False, mlp_bias=False)


def _lost_apertus(config: PretrainedConfig) -> dict[str, object]:
    return _unless(
        config, hidden_act="xielu", attention_bias=False, mlp_bias=False, tie_word_embeddings=False
    )


STRETCHED = frozenset({"default", "llama3"})
YARN = frozenset({"default", "yarn"})
FAMILIES: Mapping[str, GgufFamily] = {
    "llama": GgufFamily("llama", interleaved=True, rotary=STRETCHED, lost=_lost_plain),
    "mistral": GgufFamily("llama", interleaved=True, rotary=STRETCHED, lost=_lost_plain),
    "ministral": GgufFamily("llama", interleaved=True, rotary=STRETCHED, lost=_lost_plain),
    "ministral3": GgufFamily("mistral3", interleaved=True, rotary=YARN, lost=_lost_plain),
    "qwen2": GgufFamily("qwen2", lost=_lost_plain),
    "qwen3": GgufFamily("qwen3", lost=_lost_plain),
    "gemma2": GgufFamily("gemma2", norm_shift=1.0, window_every=2, lost=_lost_gemma),
    "gemma3_text": GgufFamily("gemma3", norm_shift=1.0, window_every=6, lost=_lost_gemma),
    "smollm3": GgufFamily("smollm3", interleaved=True, rotary=YARN, lost=_lost_smollm),
    "olmo2": GgufFamily("olmo2", lost=_lost_olmo),
    "olmo3": GgufFamily("olmo2", windows=True, rotary=YARN, lost=_lost_olmo),
    "granite": GgufFamily("granite", interleaved=True, lost=_lost_plain),
    "exaone4": GgufFamily("exaone4", windows=True, rotary=STRETCHED, lost=_lost_exaone),
    "phi3": GgufFamily(
        "phi3", rotary=frozenset({"default", "longrope"}), part_rotated=True, lost=_lost_phi
    ),
    "glm4": GgufFamily(
        "glm4", part_rotated=True, lost=lambda config: _unless(config, hidden_act="silu")
    ),
    "cohere2": GgufFamily("cohere2", windows=True, lost=_lost_cohere),
    "seed_oss": GgufFamily("seed_oss", lost=_lost_seed),
    "ernie4_5": GgufFamily(
        "ernie4_5", lost=lambda config: _unless(config, hidden_act="silu", use_bias=False)
    ),
    "arcee": GgufFamily(
        "arcee",
        interleaved=True,
        rotary=YARN,
        lost=lambda config: _unless(
            config, hidden_act="relu2", attention_bias=False, mlp_bias=False
        ),
    ),
    "apertus": GgufFamily("apertus", rotary=STRETCHED, lost=_lost_apertus),
}
"""By transformers' model_type."""

_EXPERTS = "nothing here writes its experts"
_RECURRENT = "nothing here writes its layers with a recurrent state"
NOT_WRITTEN: Mapping[str, str] = {
    **dict.fromkeys(("mixtral", "qwen3_moe", "olmoe", "granitemoe", "gpt_oss"), _EXPERTS),
    "qwen3_5_text": _RECURRENT,
    "granitemoehybrid": _RECURRENT,
    "lfm2": _RECURRENT,
    "hyperclovax": "llama.cpp has no architecture with its multipliers and norms after blocks",
}
"""Why a family that is trained here cannot be written for llama.cpp."""


@dataclass(frozen=True, slots=True)
class TensorLayout:
    """Names and row order of a base of one family."""

    family: GgufFamily
    names: TensorNameMap
    decoder: str  # the dotted name of what other families call `model`
    heads: int
    key_heads: int

    def name(self, name: str) -> str:
        """The GGUF name of a tensor; ModelError for one that is unknown to llama.cpp."""
        if name.startswith(f"{self.decoder}."):
            name = f"model{name.removeprefix(self.decoder)}"
        found = self.names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelError(
                f"{name} has no name in GGUF's {self.family.architecture}.",
                remedy=WITHOUT_FILE,
            )
        return str(found)

    def ordered(self, name: str, rows: Tensor) -> Tensor:
        """Rows [D_out, ...] of the linear layer ``name`` (or its LoRA B) in llama.cpp's order.

        Only the queries and keys of a llama are reordered.
        """
        heads = {"q_proj": self.heads, "k_proj": self.key_heads}.get(name.rpartition(".")[2])
        if heads is None or not self.family.interleaved:
            return rows
        # the halves of each head woven together: 0, Dh/2, 1, Dh/2 + 1, ...
        halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
        return halves.transpose(1, 2).reshape(rows.shape)


def layout_of(whole: PretrainedConfig, family: GgufFamily) -> TensorLayout:
    """The layout of a base with this config, which may be a whole class's."""
    config = config_alone(whole)
    architecture = next(a for a, n in MODEL_ARCH_NAMES.items() if n == family.architecture)
    names = get_tensor_name_map(architecture, config.num_hidden_layers)
    heads = (config.num_attention_heads, config.num_key_value_heads)
    return TensorLayout(family, names, decoder_name(whole), *heads)
