"""The shape of a base from its config alone, by the rules of its family.

Loading this file imports no library of tensors, so that a plan takes no time. A test holds the
counts equal to those of transformers' own models, for every family of `engine/families.py`.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tunesmith.core import yaml_text
from tunesmith.core.errors import ModelError
from tunesmith.engine.families import FAMILIES, Family, supported
from tunesmith.engine.mixer_shapes import gated_delta_net, mamba2, short_convolution
from tunesmith.engine.shape import DecoderShape, LinearShape, ModelShape
from tunesmith.models.config_file import Config, holds_four_bit, require_sizes
from tunesmith.models.whole_classes import WHOLE_CLASSES

Linears = tuple[LinearShape, ...]
SLIDING, LINEAR = "sliding_attention", ("linear_attention", "mamba", "conv")


@functools.cache
def _defaults() -> Mapping[str, Config]:
    """What transformers' classes take for a key that a config leaves out."""
    text = (Path(str(files(__package__))) / "family_defaults.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Config] = yaml_text.read(text)
    return found


def shape_of(config: Config, *, name: str = "the config") -> ModelShape:
    """The shape that a config.json describes; ModelError, naming the reason, where it has none."""
    kind = str(config.get("model_type"))
    text = config.get("text_config")
    tied = config.get("tie_word_embeddings")
    if kind in WHOLE_CLASSES and isinstance(text, Mapping):
        tied = text.get("tie_word_embeddings") if tied is None else tied
        inner = str(text.get("model_type") or f"{kind}_text")
    else:
        text, inner = config, kind
    family = FAMILIES.get(inner)
    if inner == "None":
        raise ModelError(
            f"{name}: has no model_type, so it is not the config.json of a base.",
            remedy="Give the config.json of a base.",
        )
    if family is None:
        raise ModelError(
            f"{name}: the shape of model_type {inner!r} is not known.",
            remedy=f"Known are {supported()}.",
        )
    require_sizes(text, name)
    given = {_OTHER_NAMES.get(k, k): v for k, v in text.items() if v is not None or k in _OFF}
    values = {**_defaults()[inner], **given}
    if tied is not None:
        values["tie_word_embeddings"] = tied
    values["four_bit"] = holds_four_bit(config, name)
    return _Reading(inner, family, values).model()


# What null turns off, whatever the class takes where a config leaves the key out.
_OFF = ("sliding_window", "attn_logit_softcapping", "final_logit_softcapping")
GLOBAL_HEAD_WIDTH = 512  # of Gemma 4, where a config leaves it out
_OTHER_NAMES = {"num_local_experts": "num_experts", "layers_block_type": "layer_types"}
# Where a config has no layer_types: each n-th layer sees everything, the others a window.
_PATTERNS = {"gemma2": 2, "gemma3_text": 6, "gemma4_text": 6, "gemma3n_text": 5, "cohere2": 4}
_PATTERNS |= {"olmo3": 4, "exaone4": 4, "gpt_oss": 2, "ministral": 0}
_NORMS = {"cohere2": 1, "gemma2": 4, "gemma3_text": 4, "gemma4_text": 4, "gemma3n_text": 4}
_NORMS |= {"glm4": 4}
_WIDE_NORMS = ("olmo2", "olmo3", "olmoe")  # of all heads together


@dataclass(frozen=True, slots=True)
class _Reading:
    """One config while it is read, defaults in place."""

    kind: str
    family: Family
    values: Config

    def get(self, *keys: str, default: Any = None) -> Any:
        """The first of these keys that is set."""
        return next((v for key in keys if (v := self.values.get(key)) is not None), default)

    def has(self, trait: str) -> bool:
        """Whether the family's layers have this."""
        return trait in self.family.traits

    @property
    def width(self) -> int:
        return int(self.values["hidden_size"])

    def model(self) -> ModelShape:
        kinds = self.kinds()
        made = [self.layer(i, kind) for i, kind in enumerate(kinds)]
        outer, others = self.outside(len(kinds))
        return ModelShape(
            family=self.kind,
            width=self.width,
            vocabulary=int(self.values["vocab_size"]),
            tied=bool(self.get("tie_word_embeddings")),
            context=int(self.get("max_position_embeddings", default=0)),
            layers=tuple(made),
            outer=outer,
            others=others + self.width,  # the last norm
            four_bit=bool(self.values["four_bit"]),
            softcap=self.get("final_logit_softcapping") is not None,
        )

    def kinds(self) -> list[str]:
        """The kind of each layer, by transformers' word."""
        layers = int(self.values["num_hidden_layers"])
        full = "full_attention"
        if given := self.values.get("layer_types"):
            return list(given)[:layers]
        if self.kind == "qwen3_5_text":
            every = int(self.get("full_attention_interval", default=4))
            return [full if (i + 1) % every == 0 else LINEAR[0] for i in range(layers)]
        if self.kind == "granitemoehybrid":
            return [LINEAR[0]] * layers
        if (only := self.get("full_attn_idxs")) is not None:  # lfm2
            return [full if i in only else "conv" for i in range(layers)]
        if self.family.windows == "all layers" and self.get("use_sliding_window", default=True):
            return [SLIDING if self.get("sliding_window") else full] * layers
        if self.family.windows == "none" or not self.get("sliding_window"):
            return [full] * layers
        if "use_sliding_window" in self.values:
            first = self.get("max_window_layers", default=0)
            on = bool(self.values["use_sliding_window"])
            return [SLIDING if on and i >= first else full for i in range(layers)]
        given = self.get("sliding_window_pattern")  # a number, or letters
        every = given if isinstance(given, int) else _PATTERNS.get(self.kind, 1)
        found = [full if every and (i + 1) % every == 0 else SLIDING for i in range(layers)]
        return [*found[:-1], full] if self.kind == "gemma4_text" else found

    def layer(self, index: int, kind: str) -> DecoderShape:
        if kind in LINEAR:
            return self.recurrent(index)
        heads, keys, width = self.heads(index, kind)
        linears = self.attention(index, kind)
        inner, gates, feedforward, experts = self.feedforward(index)
        more, extra = self.beside(index)
        norms = _NORMS.get(self.kind, 2)
        if self.kind == "hyperclovax" and self.get("use_post_norm"):
            norms = 4
        others = norms * self.width + extra
        if self.has("query norm"):
            wide = self.kind in _WIDE_NORMS
            others += heads * width if wide else width
            others += 0 if self.shares(index) else keys * width if wide else width
        others += heads * self.has("sinks") + 2 * (self.kind == "apertus")
        return DecoderShape(
            linears=(*linears, *feedforward, *more),
            experts=experts,
            others=others,
            heads=heads,
            key_heads=keys,
            head_width=width,
            window=self.get("sliding_window") if kind == SLIDING else None,
            inner=inner,
            gates=gates,
            norms=norms,
            normed_heads=self.has("query norm"),
            softcap=self.kind == "gemma2" and self.get("attn_logit_softcapping") is not None,
            own_keys=not self.shares(index),
        )

    def heads(self, index: int, kind: str) -> tuple[int, int, int]:
        """H, G and Dh of a layer with keys."""
        heads = int(self.values["num_attention_heads"])
        keys = int(self.get("num_key_value_heads", default=heads))
        width = int(self.get("head_dim", default=self.width // heads))
        layers = self.get("per_layer_config")  # what differs in some
        if layers is None and self.kind == "gemma4_text" and kind != SLIDING:
            width = int(self.get("global_head_dim", default=GLOBAL_HEAD_WIDTH))
            if self.get("attention_k_eq_v"):
                keys = int(self.get("num_global_key_value_heads", default=keys))
        own = {str(key): value for key, value in (layers or {}).items()}.get(str(index), {})
        return heads, own.get("num_key_value_heads", keys), own.get("head_dim", width)

    def shares(self, index: int) -> bool:
        """Whether a layer sees an earlier one's keys."""
        shared = int(self.get("num_kv_shared_layers", default=0) or 0)
        return index >= int(self.values["num_hidden_layers"]) - shared

    def attention(self, index: int, kind: str) -> Iterator[LinearShape]:
        heads, keys, width = self.heads(index, kind)
        q, kv, d = heads * width, keys * width, self.width
        bias, out = self.biases()
        if self.kind == "phi3":
            yield LinearShape("self_attn.qkv_proj", d, q + 2 * kv)
        else:
            gated = 2 if self.kind == "qwen3_5_text" else 1  # its output is gated by queries
            yield LinearShape("self_attn.q_proj", d, gated * q, bias)
            if not self.shares(index):
                yield LinearShape("self_attn.k_proj", d, kv, bias)
                is_value_too = self.get("attention_k_eq_v") and kind != SLIDING
                if not (self.kind == "gemma4_text" and is_value_too):
                    yield LinearShape("self_attn.v_proj", d, kv, bias)
        name = "out_proj" if self.kind == "lfm2" else "o_proj"
        yield LinearShape(f"self_attn.{name}", q, d, out)

    def biases(self) -> tuple[bool, bool]:
        """Whether queries, keys and values have a bias, and whether the output has."""
        if self.kind == "qwen2":
            return True, False
        both = bool(self.get("attention_bias", "use_bias", default=False))
        if self.kind == "glm4":
            return both, False
        return both, bool(self.get("attention_out_bias", default=both))

    def feedforward(self, index: int) -> tuple[int, int, Linears, Linears]:
        """F, products that it comes from, its linear layers, and the experts."""
        d, experts = self.width, self.experts(index)
        given = self.values["intermediate_size"]
        inner = int(given[index] if isinstance(given, list) else given)
        if self.kind == "granitemoehybrid":
            inner = int(self.values["shared_intermediate_size"])
            pair = (
                LinearShape("shared_mlp.input_linear", d, 2 * inner),
                LinearShape("shared_mlp.output_linear", inner, d),
            )
            return inner, 2, pair if inner else (), experts
        if self.kind == "lfm2":
            inner = self.adjusted(inner)
            names = (("w1", d, inner), ("w3", d, inner), ("w2", inner, d))
            return inner, 2, tuple(LinearShape(f"feed_forward.{n}", i, o) for n, i, o in names), ()
        if experts:
            return 0, 0, (), experts
        if self.get("use_double_wide_mlp") and self.shares(index):
            inner *= 2
        bias = bool(self.get("mlp_bias", "use_bias", default=False))
        down = LinearShape("mlp.down_proj", inner, d, bias)
        if self.kind in ("phi3", "glm4"):
            return inner, 2, (LinearShape("mlp.gate_up_proj", d, 2 * inner), down), ()
        up = LinearShape("mlp.up_proj", d, inner, bias)
        if self.has("plain feedforward"):
            return inner, 1, (up, down), ()
        return inner, 2, (LinearShape("mlp.gate_proj", d, inner, bias), up, down), ()

    def adjusted(self, inner: int) -> int:
        """The inner width that LFM2 makes of the one in its config."""
        if not self.get("block_auto_adjust_ff_dim"):
            return inner
        of = int(self.values["block_multiple_of"])
        inner = int(self.values["block_ffn_dim_multiplier"] * int(2 * inner / 3))
        return -(-inner // of) * of

    def experts(self, index: int) -> tuple[LinearShape, ...]:
        """The router and the two stacks of a layer; () of a dense one."""
        count = int(self.get("num_experts", default=0) or 0)
        if not count or not (self.has("experts") or self.kind == "granitemoehybrid"):
            return ()
        if index in (self.get("mlp_only_layers") or ()):
            return ()
        if (index + 1) % int(self.get("decoder_sparse_step", default=1)):
            return ()
        d, used = self.width, int(self.values["num_experts_per_tok"])
        inner = int(self.get("moe_intermediate_size", "intermediate_size"))
        biased = self.kind == "gpt_oss"
        block = "block_sparse_moe" if self.kind.startswith("granitemoe") else "mlp"
        router = {"gpt_oss": "router", "granitemoe": "router", "granitemoehybrid": "router"}
        return (
            LinearShape(f"{block}.{router.get(self.kind, 'gate')}.weight", d, count, biased),
            LinearShape(f"{block}.experts.gate_up_proj", d, 2 * inner, biased, count, used),
            LinearShape(f"{block}.experts.down_proj", inner, d, biased, count, used),
        )

    def recurrent(self, index: int) -> DecoderShape:
        """A layer with a recurrent state: Gated DeltaNet, Mamba-2 or a short convolution."""
        made = {"qwen3_5_text": gated_delta_net, "lfm2": short_convolution}.get(self.kind, mamba2)
        linears, others, state, channels = made(self.values, self.width)
        inner, gates, feedforward, experts = self.feedforward(index)
        return DecoderShape(
            linears=(*linears, *feedforward),
            experts=experts,
            others=others + 2 * self.width,
            heads=0,
            key_heads=0,
            head_width=channels,
            window=None,
            inner=inner,
            gates=gates,
            norms=2,
            normed_heads=False,
            state=state,
        )

    def beside(self, index: int) -> tuple[tuple[LinearShape, ...], int]:  # noqa: ARG002
        """Linear layers and other parameters of a layer beside attention and feedforward."""
        d, per = self.width, int(self.get("hidden_size_per_layer_input", default=0) or 0)
        if not per:
            return (), 0
        linears = (
            LinearShape("per_layer_input_gate", d, per),
            LinearShape("per_layer_projection", per, d),
        )
        if self.kind != "gemma3n_text":
            return linears, d  # and a norm
        streams, rank = int(self.values["altup_num_inputs"]), int(self.values["laurel_rank"])
        return (
            *linears,
            LinearShape("altup.correction_coefs", streams, streams),
            LinearShape("altup.prediction_coefs", streams, streams * streams),
            LinearShape("altup.modality_router", d, streams),
            LinearShape("laurel.linear_left", d, rank),
            LinearShape("laurel.linear_right", rank, d),
        ), 4 * d  # three norms and a scale

    def outside(self, layers: int) -> tuple[tuple[LinearShape, ...], int]:
        """Linear layers and parameters outside the layers, beside embedding, head and norm."""
        per = int(self.get("hidden_size_per_layer_input", default=0) or 0)
        if not per:
            return (), 0
        rows = int(self.get("vocab_size_per_layer_input", "vocab_size"))
        linears = [LinearShape("per_layer_model_projection", self.width, layers * per)]
        if self.kind == "gemma3n_text":
            for side in ("altup_projections", "altup_unembed_projections"):
                count = int(self.values["altup_num_inputs"]) - 1
                linears += [
                    LinearShape(f"{side}.{i}", self.width, self.width) for i in range(count)
                ]
        return tuple(linears), rows * layers * per + per
