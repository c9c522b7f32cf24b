"""A model's or adapter's folder as one GGUF file, written a tensor at a time."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFType, GGUFWriter, Keys, LlamaFileType
from torch import Tensor
from transformers import PretrainedConfig

from tunesmith.adapters import store
from tunesmith.adapters.stored import StoredTensors
from tunesmith.config.methods import LoraSettings
from tunesmith.core import files
from tunesmith.core.errors import AdapterError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.exports.gguf_families import Family, family_of, rotary_factors, write_settings
from tunesmith.exports.gguf_tensors import (
    NumberFormat,
    TensorLayout,
    layout_of,
    stored,
    stored_bytes,
    stored_type,
)
from tunesmith.exports.gguf_vocabulary import vocabulary_of, write_vocabulary
from tunesmith.methods.lora import key_a, key_b
from tunesmith.methods.lora_variants import shape
from tunesmith.models.load import read_config, read_tokenizer, stop_ids_in
from tunesmith.models.weights import read_weight, weight_shapes

REMEDY = "Free space or mend the folder's rights, or name another folder."
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
FILE_TYPES: dict[NumberFormat, LlamaFileType] = {
    "f32": LlamaFileType.ALL_F32,
    "bf16": LlamaFileType.MOSTLY_BF16,
    "f16": LlamaFileType.MOSTLY_F16,
    "q8_0": LlamaFileType.MOSTLY_Q8_0,
}


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A GGUF file; ``coarser`` are tensors kept in f16 because q8_0 has no place for their rows."""

    path: Path
    bytes: int
    tensors: int
    coarser: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AdapterPart:
    """A tensor of a file: its name and shape, its number format, and how to get it."""

    name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType
    read: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        """What it takes in the file."""
        return stored_bytes(self.shape, self.kind)


def write_model(
    folder: Path,
    path: Path,
    *,
    number_format: NumberFormat = "f16",
    name: str = "",
    progress: Progress = SILENT,
) -> GgufFile:
    """Write the base in ``folder`` (config, tokenizer, safetensors) as ``path``; whole or absent.

    Weights are read, converted and written one after the other: at no time is more than one of
    them in memory. Raises ModelError, naming the reason, for what GGUF cannot hold or llama.cpp
    would compute otherwise; RunError where the disk refuses.
    """
    config = read_config(folder, trust_remote_code=False)
    family = family_of(config, folder)
    tokenizer = read_tokenizer(folder, trust_remote_code=False)
    parts = _parts(folder, config, family, number_format)
    rows = next(part.shape[0] for part in parts if part.name == "token_embd.weight")
    vocabulary = vocabulary_of(tokenizer, rows)
    size = sum(part.bytes for part in parts) / 1e6
    progress.phase(f"Writing {path.name} ({number_format}, {size:,.0f} MB).")

    def describe(writer: GGUFWriter) -> None:
        writer.add_type(GGUFType.MODEL)
        writer.add_name(name or folder.name)
        writer.add_file_type(int(FILE_TYPES[number_format]))
        if number_format == "q8_0":
            writer.add_quantization_version(GGML_QUANT_VERSION)
        write_settings(writer, config, family)
        if family.architecture == "llama":
            writer.add_vocab_size(rows)
        write_vocabulary(writer, tokenizer, vocabulary, stop_ids_in(folder, config, tokenizer))

    coarser = [p.name for p in parts if number_format == "q8_0" and p.kind.name == "F16"]
    return _write(path, parts, family.architecture, describe, coarser=tuple(coarser))


def _write(
    path: Path,
    parts: list[AdapterPart],
    architecture: str,
    describe: Callable[[GGUFWriter], None],
    *,
    coarser: tuple[str, ...] = (),
) -> GgufFile:
    """A file with the metadata that ``describe`` sets, then the tensors one after the other.

    Whole or absent; nothing is written where the disk has no room for the tensors.
    """

    def fill(temporary: Path) -> None:
        needed = sum(part.bytes for part in parts)
        files.require_space(path.parent, needed, what=path.name, remedy=REMEDY)
        writer = GGUFWriter(temporary, architecture)
        describe(writer)
        for part in parts:
            dtype = np.dtype(np.float16 if part.kind is GGMLQuantizationType.F16 else np.float32)
            writer.add_tensor_info(part.name, part.shape, dtype, part.bytes, raw_dtype=part.kind)
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for part in parts:
                writer.write_tensor_data(stored(part.name, part.read(), part.kind))
        finally:
            writer.close()

    files.publish_file(path, fill, remedy=REMEDY)
    return GgufFile(path, path.stat().st_size, len(parts), coarser)


def _parts(
    folder: Path, config: PretrainedConfig, family: Family, number_format: NumberFormat
) -> list[AdapterPart]:
    """Every tensor of the file, none of them read yet."""
    layout = layout_of(config, family)

    def reader(name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            weight = read_weight(folder, name)
            if family.norm_shift and "norm" in name:
                weight = weight.float() + family.norm_shift
            return layout.ordered(name.removesuffix(".weight"), weight)

        return read

    shapes = weight_shapes(folder)
    if config.tie_word_embeddings:
        shapes.pop(HEAD, None)
    parts = [
        AdapterPart(layout.name(name), shape, stored_type(shape, number_format), reader(name))
        for name, shape in shapes.items()
    ]
    factors = rotary_factors(config)
    if factors is not None:
        shape = tuple(factors.shape)
        parts.append(
            AdapterPart("rope_freqs.weight", shape, stored_type(shape, "f32"), lambda: factors)
        )
    return parts


MERGE_INSTEAD = "Export the merged model (--merged)."
TRANSPOSED = ("embed_tokens", "lm_head")


def write_adapter(
    folder: Path,
    base: Path,
    path: Path,
    *,
    number_format: NumberFormat = "f32",
    name: str = "",
    progress: Progress = SILENT,
) -> GgufFile:
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
    parts = _adapter_parts(layout, settings, tensors, alpha, number_format)
    size = sum(part.bytes for part in parts) / 1e6
    progress.phase(f"Writing {path.name} ({number_format}, {size:,.1f} MB).")

    def describe(writer: GGUFWriter) -> None:
        writer.add_type(GGUFType.ADAPTER)
        writer.add_name(name or folder.name)
        writer.add_string(Keys.Adapter.TYPE, "lora")
        writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)

    return _write(path, parts, family.architecture, describe)


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


def _adapter_parts(
    layout: TensorLayout,
    settings: LoraSettings,
    tensors: Mapping[str, Tensor],
    alpha: float,
    number_format: NumberFormat,
) -> list[AdapterPart]:
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
        parts.append(AdapterPart(f"{name}.lora_a", tuple(a.shape), kinds[0], _giving(a)))
        folded = layout.ordered(module, b if math.isclose(factor, 1) else b.float() * factor)
        parts.append(AdapterPart(f"{name}.lora_b", tuple(b.shape), kinds[1], _giving(folded)))
    return parts


def _giving(tensor: Tensor) -> Callable[[], Tensor]:
    return lambda: tensor
