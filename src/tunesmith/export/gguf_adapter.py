"""A LoRA adapter's folder as a GGUF file that llama.cpp and Ollama lay over a base."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from gguf import GGUFType, GGUFWriter, Keys
from torch import Tensor

from tunesmith.adapters import store
from tunesmith.adapters.stored import StoredTensors
from tunesmith.config.methods import LoraSettings
from tunesmith.errors import AdapterError
from tunesmith.export.gguf_families import family_of
from tunesmith.export.gguf_model import Part, Written, write_file, write_parts
from tunesmith.export.gguf_tensors import Layout, NumberFormat, layout_of, stored_type
from tunesmith.methods.lora import key_a, key_b, shape
from tunesmith.models.cache import Emit, ignore
from tunesmith.models.load import read_config

MERGE_INSTEAD = "Export the merged model (--merged)."
TRANSPOSED = ("embed_tokens", "lm_head")


def write_adapter(
    folder: Path,
    base: Path,
    path: Path,
    *,
    number_format: NumberFormat = "f32",
    name: str = "",
    emit: Emit = ignore,
) -> Written:
    """Write the LoRA adapter in ``folder``, trained on the base in ``base``, as ``path``.

    llama.cpp scales a layer's term by alpha / rank, with the rank of that layer's tensors and one
    alpha for all: what differs from that (rsLoRA, patterns) is folded into B. Raises AdapterError
    for what such a file cannot hold: other methods, DoRA, tokens of its own.
    """
    tensors = dict(StoredTensors(folder))
    settings = store.settings_of(folder)
    if not isinstance(settings, LoraSettings):
        raise AdapterError(
            f"{folder}: an adapter of method {settings.kind} cannot be written as GGUF; lora can.",
            remedy="Serve it with tunesmith, or train the same data with method lora.",
        )
    _require_plain(folder, settings, store.token_ids(folder))
    config = read_config(base, trust_remote_code=False)
    family = family_of(config, base)
    layout = layout_of(config, family)
    alpha = _alpha(settings)
    parts = _parts(layout, settings, tensors, alpha, number_format)
    emit(f"Writing {path.name} ({number_format}, {sum(p.bytes for p in parts) / 1e6:,.1f} MB).")

    def fill(temporary: Path) -> None:
        writer = GGUFWriter(temporary, family.architecture)
        writer.add_type(GGUFType.ADAPTER)
        writer.add_name(name or folder.name)
        writer.add_string(Keys.Adapter.TYPE, "lora")
        writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
        write_parts(writer, parts)

    write_file(path, parts, fill)
    return Written(path, path.stat().st_size, len(parts))


def _require_plain(folder: Path, settings: LoraSettings, tokens: tuple[int, ...]) -> None:
    odd = []
    if settings.dora:
        odd.append("DoRA's magnitudes")
    if tokens:
        odd.append("tokens of its own")
    if odd:
        raise AdapterError(
            f"{folder}: a GGUF adapter has no place for {' and '.join(odd)}.",
            remedy=MERGE_INSTEAD,
        )


def _alpha(settings: LoraSettings) -> float:
    """The one alpha of the file: that with which most layers' B stays as it is."""
    plain = shape(settings, "")
    return plain.scale * plain.rank


def _parts(
    layout: Layout,
    settings: LoraSettings,
    tensors: Mapping[str, Tensor],
    alpha: float,
    number_format: NumberFormat,
) -> list[Part]:
    parts = []
    for module in settings.targets:
        a, b = tensors[key_a(module)], tensors[key_b(module)]
        if module.rpartition(".")[2] in TRANSPOSED:
            raise AdapterError(
                f"A GGUF adapter has no place for a term of {module}.", remedy=MERGE_INSTEAD
            )
        rank = a.shape[0]
        factor = shape(settings, module).scale / (alpha / rank)
        name = layout.name(f"{module}.weight")
        kinds = [stored_type(tuple(t.shape), number_format) for t in (a, b)]
        parts.append(Part(f"{name}.lora_a", tuple(a.shape), kinds[0], _giving(a)))
        folded = layout.ordered(module, b if math.isclose(factor, 1) else b.float() * factor)
        parts.append(Part(f"{name}.lora_b", tuple(b.shape), kinds[1], _giving(folded)))
    return parts


def _giving(tensor: Tensor) -> Callable[[], Tensor]:
    return lambda: tensor
