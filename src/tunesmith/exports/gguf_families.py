"""Which model families can be written as GGUF, with which settings, tensor names and row order?

llama.cpp computes a family from its architecture's name and a few settings. A config key that its
graph does not implement would be lost silently; it is refused here, and the message names it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from gguf import MODEL_ARCH_NAMES, GGUFWriter, TensorNameMap, get_tensor_name_map
from torch import Tensor
from transformers import PretrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from tunesmith.core.errors import ModelError
from tunesmith.models.gguf import query_scale

Lost = Callable[[PretrainedConfig], dict[str, object]]


@dataclass(frozen=True, slots=True)
class GgufFamily:
    """The name and layout of a transformers family in GGUF.

    ``interleaved``: llama.cpp rotates neighbouring pairs of a head's rows, where transformers
    rotates its two halves. ``norm_shift`` is what transformers adds to a norm's weight and
    llama.cpp does not. ``window_every``: every n-th layer sees the whole text, the others a
    window. ``lost`` gives the config's keys, with their values, that a file cannot hold.
    """

    architecture: str
    interleaved: bool = False
    norm_shift: float = 0.0
    window_every: int | None = None
    lost: Lost = field(kw_only=True)


def family_of(config: PretrainedConfig, source: Path) -> GgufFamily:
    """The family of a base's config; ModelError for one that cannot be written as GGUF."""
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise ModelError(
            f"{source}: a base of type {config.model_type!r} cannot be written as GGUF; "
            f"{', '.join(FAMILIES)} can.",
            remedy="Export it as a folder (merged or peft).",
        )
    lost = {**_lost_rotary(config, family), **family.lost(config)}
    if getattr(config, "quantization_config", None):
        lost["quantization_config"] = "4-bit"
    if lost:
        shown = ", ".join(f"{key} = {value}" for key, value in lost.items())
        raise ModelError(
            f"{source}/config.json: llama.cpp's {family.architecture} does not support {shown}.",
            remedy="Export it as a folder (merged or peft).",
        )
    return family


def head_width(config: PretrainedConfig) -> int:
    """Dh, the width of a head."""
    given = getattr(config, "head_dim", None)
    return int(given or config.hidden_size // config.num_attention_heads)


def rotary(config: PretrainedConfig, kind: str = "full_attention") -> Mapping[str, object]:
    """The rotary settings of layers of a kind: `rope_theta`, `rope_type`, ..."""
    given = config.rope_parameters
    found: Mapping[str, object] = given.get(kind, given)
    return found


def _lost_rotary(config: PretrainedConfig, family: GgufFamily) -> dict[str, object]:
    kinds = {str(rotary(config, kind).get("rope_type", "default")) for kind in _KINDS}
    known = {"default", "llama3"} if family.interleaved else {"default"}
    share = rotary(config).get("partial_rotary_factor") or 1.0
    lost: dict[str, object] = {} if kinds <= known else {"rope_type": ", ".join(kinds - known)}
    return lost | ({"partial_rotary_factor": share} if share != 1.0 else {})


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


_KINDS = ("full_attention", "sliding_attention")
FAMILIES: Mapping[str, GgufFamily] = {
    "llama": GgufFamily("llama", interleaved=True, lost=_lost_plain),
    "mistral": GgufFamily("llama", interleaved=True, lost=_lost_plain),
    "qwen2": GgufFamily("qwen2", lost=_lost_plain),
    "qwen3": GgufFamily("qwen3", lost=_lost_plain),
    "gemma2": GgufFamily("gemma2", norm_shift=1.0, window_every=2, lost=_lost_gemma),
    "gemma3_text": GgufFamily("gemma3", norm_shift=1.0, window_every=6, lost=_lost_gemma),
}
"""By transformers' model_type."""


LOCAL_BASE = 10_000.0  # the rotary base of gemma3's window layers where a file names none


def write_settings(writer: GGUFWriter, config: PretrainedConfig, family: GgufFamily) -> None:
    """What llama.cpp builds the model from, besides its tensors and vocabulary."""
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_width(config))
    writer.add_value_length(head_width(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rotary(config)["rope_theta"])
    if family.architecture == "llama":
        writer.add_rope_dimension_count(head_width(config))
    if family.window_every is not None:
        _write_windows(writer, config)


def _write_windows(writer: GGUFWriter, config: PretrainedConfig) -> None:
    writer.add_sliding_window(config.sliding_window)
    local = rotary(config, "sliding_attention")["rope_theta"]
    if config.model_type == "gemma3_text" and local != LOCAL_BASE:
        writer.add_rope_freq_base_swa(local)
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        if getattr(config, key, None) is not None:
            getattr(writer, f"add_{key}")(getattr(config, key))


def rotary_factors(config: PretrainedConfig) -> Tensor | None:
    """What each of Llama 3's stretched frequencies is divided by, fp32 [Dh / 2]; None without.

    llama.cpp reads them as the tensor `rope_freqs.weight`.
    """
    if rotary(config).get("rope_type", "default") != "llama3":
        return None
    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, device=torch.device("cpu"))
    width = head_width(config)
    base = float(rotary(config)["rope_theta"])  # type: ignore[arg-type]  # a number in a config
    plain = base ** -(torch.arange(0, width, 2, dtype=torch.float32) / width)
    factors: Tensor = plain / stretched.float()
    return factors


@dataclass(frozen=True, slots=True)
class TensorLayout:
    """Names and row order of a base of one family."""

    family: GgufFamily
    names: TensorNameMap
    heads: int
    key_heads: int

    def name(self, name: str) -> str:
        """The GGUF name of a tensor; ModelError for one that is unknown to llama.cpp."""
        found = self.names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelError(
                f"{name} has no name in GGUF's {self.family.architecture}.",
                remedy="Export it as a folder (merged or peft).",
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


def layout_of(config: PretrainedConfig, family: GgufFamily) -> TensorLayout:
    """The layout of a base with this config."""
    architecture = next(a for a, n in MODEL_ARCH_NAMES.items() if n == family.architecture)
    names = get_tensor_name_map(architecture, config.num_hidden_layers)
    return TensorLayout(family, names, config.num_attention_heads, config.num_key_value_heads)
