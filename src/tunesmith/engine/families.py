"""The model families that run through the packed stream, and what their heads do after W."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunesmith.core.errors import ModelError

if TYPE_CHECKING:  # so that the table of known bases is shown without loading it
    from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True)
class Scores:
    """What a family does to h W^T: softcap * tanh(scale * z / softcap)."""

    scale: float = 1.0
    softcap: float | None = None


# A family is added with a tiny config in tests/families.py that holds it to contract 1.
FAMILIES = frozenset(
    ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "phi3", "olmo2", "granite")
)
# Families with windows in the layers that `layer_types` names, or in every layer.
WINDOW_BY_LAYER = frozenset({"qwen2", "qwen3", "gemma2", "gemma3_text"})
WINDOW_EVERYWHERE = frozenset({"mistral", "phi3"})
# These choose frequencies by the longest position of a call, so that a document would depend on
# its neighbours; below their original length they do not.
LENGTH_DEPENDENT_ROTARY = frozenset({"dynamic", "longrope"})


def head_scores(config: "PretrainedConfig") -> Scores:
    """What the family's head does; raises ModelError for an unsupported family."""
    if config.model_type not in FAMILIES:
        raise ModelError(
            f"Model family `{config.model_type}` is not supported.",
            remedy=f"Supported are {', '.join(sorted(FAMILIES))}.",
        )
    if getattr(config, "use_bidirectional_attention", False):
        raise ModelError(
            f"`{config.model_type}` with attention in both directions generates no text."
        )
    scale = 1.0 / getattr(config, "logits_scaling", 1.0)  # granite
    return Scores(scale, getattr(config, "final_logit_softcapping", None))  # gemma


def layer_windows(config: "PretrainedConfig") -> list[int | None]:
    """The sliding window of each layer, its own position counted; None: no window."""
    layers = int(config.num_hidden_layers)
    if config.model_type in WINDOW_EVERYWHERE:
        return [config.sliding_window] * layers
    if config.model_type not in WINDOW_BY_LAYER:
        return [None] * layers
    kinds = config.layer_types[:layers]
    return [config.sliding_window if kind == "sliding_attention" else None for kind in kinds]


def longest_safe_position(config: "PretrainedConfig") -> int | None:
    """Positions below which rotary frequencies do not depend on the call; None: always."""
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = [parameters, *(v for v in parameters.values() if isinstance(v, dict))]
    if not any(kind.get("rope_type") in LENGTH_DEPENDENT_ROTARY for kind in kinds):
        return None
    limits = [kind.get("original_max_position_embeddings") for kind in kinds]
    limits.append(getattr(config, "original_max_position_embeddings", None))
    known = [int(limit) for limit in limits if limit]
    return min(known) if known else int(config.max_position_embeddings)
