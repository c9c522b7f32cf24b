"""What a .gguf file says about itself, and whether all of that survives a conversion."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gguf import GGUFReader

from tunesmith.core.errors import ModelError

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
"""Settings that do not reach the config (those of one architecture behind its name), and the one
value with which nothing is lost."""

_STOP_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")


@dataclass(frozen=True, slots=True)
class Header:
    """The metadata of a .gguf file, without its tensors and token lists."""

    architecture: str
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
        architecture=architecture,
        context=context if isinstance(context, int) else None,
        tokenizer=str(values.get("tokenizer.ggml.model")),
        pre_tokenizer=_text(values.get("tokenizer.ggml.pre")),
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
    """What the file holds and the converted base would not."""
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


def _text(value: object) -> str | None:
    return None if value is None else str(value)
