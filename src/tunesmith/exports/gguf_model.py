"""A model's or adapter's folder as one GGUF file, written a tensor at a time."""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from gguf import (
    GGML_QUANT_VERSION,
    GGMLQuantizationType,
    GGUFType,
    GGUFWriter,
    Keys,
    LlamaFileType,
    quants,
)
from numpy.typing import NDArray
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from tunesmith.adapters.folder import StoredTensors
from tunesmith.config.methods import LoraSettings
from tunesmith.core import files
from tunesmith.core.errors import AdapterError, ModelError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.exports.adapter_folder import require_plain_lora
from tunesmith.exports.gguf_families import (
    GgufFamily,
    TensorLayout,
    family_of,
    layout_of,
)
from tunesmith.exports.gguf_settings import is_setting, rotary_factors, write_settings
from tunesmith.exports.gguf_vocabulary import write_vocabulary
from tunesmith.methods.lora import key_a, key_b
from tunesmith.methods.lora_variants import shape
from tunesmith.models.load import read_config, read_tokenizer, stop_ids_in
from tunesmith.models.text_part import config_alone, stored_names
from tunesmith.models.weights import read_weight, weight_shapes

REMEDY = "Free space, fix the folder's permissions, or name another folder."
HEAD = "lm_head.weight"


NumberFormat = Literal["f32", "bf16", "f16", "q8_0"]
Q8_BLOCK = 32  # weights of a row that share a scale
BLOCK_ELEMENTS = 1 << 20  # converted at a time, so that fp32 copies stay small


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A GGUF file; ``coarser`` are tensors in f16, whose rows q8_0 cannot hold."""

    path: Path
    coarser: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TensorPart:
    """A tensor of a file: its name, shape and number format, and what reads it."""

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
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: Progress = SILENT,
) -> GgufFile:
    """Write the base in ``folder`` (config, tokenizer, safetensors) as ``path``; whole or absent.

    ``tokenizer`` has its vocabulary and another chat template; None: the folder's own.

    Weights are read, converted and written one after the other, one in memory at a time. Raises
    ModelError with the reason for what GGUF cannot hold or llama.cpp would compute differently;
    RunError where the disk cannot be written.
    """
    whole = read_config(folder, trust_remote_code=False)
    config = config_alone(whole)
    family = family_of(config, folder)
    tokenizer = tokenizer or read_tokenizer(folder, trust_remote_code=False)
    parts = _parts(folder, whole, family, number_format)
    rows = next(part.shape[0] for part in parts if part.name == "token_embd.weight")
    size = sum(part.bytes for part in parts) / 1e6
    progress.phase(f"Writing {path.name} ({number_format}, {size:,.0f} MB).")

    def describe(writer: GGUFWriter) -> None:
        writer.add_type(GGUFType.MODEL)
        writer.add_name(folder.name)
        share = "ALL" if number_format == "f32" else "MOSTLY"
        writer.add_file_type(int(LlamaFileType[f"{share}_{number_format.upper()}"]))
        if number_format == "q8_0":
            writer.add_quantization_version(GGML_QUANT_VERSION)
        write_settings(writer, config, family, functools.partial(read_weight, folder))
        if family.architecture == "llama":
            writer.add_vocab_size(rows)
        write_vocabulary(writer, tokenizer, rows, stop_ids_in(folder, config, tokenizer))

    coarser = [p.name for p in parts if number_format == "q8_0" and p.kind.name == "F16"]
    return _write(path, parts, family.architecture, describe, coarser=tuple(coarser))


def _write(
    path: Path,
    parts: list[TensorPart],
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
    return GgufFile(path, coarser)


def _parts(
    folder: Path, whole: PretrainedConfig, family: GgufFamily, number_format: NumberFormat
) -> list[TensorPart]:
    """Every tensor of the file, none of them read yet."""
    config, layout = config_alone(whole), layout_of(whole, family)
    names = stored_names(folder, whole)

    def reader(name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            weight = read_weight(folder, names[name])
            if family.norm_shift and "norm" in name:
                weight = weight.float() + family.norm_shift
            return layout.ordered(name.removesuffix(".weight"), weight)

        return read

    in_files = weight_shapes(folder)
    shapes = {name: in_files[stored] for name, stored in names.items() if not is_setting(name)}
    if config.tie_word_embeddings:
        shapes.pop(HEAD, None)
    parts = [
        TensorPart(layout.name(name), shape, stored_type(shape, number_format), reader(name))
        for name, shape in shapes.items()
    ]
    factors = rotary_factors(config).items()
    return [*parts, *(_part(name, tensor, "f32") for name, tensor in factors)]


def _part(name: str, tensor: Tensor, number_format: NumberFormat) -> TensorPart:
    """A tensor that is in memory."""
    shape = tuple(tensor.shape)
    return TensorPart(name, shape, stored_type(shape, number_format), tensor.detach)


MERGE_INSTEAD = "Export the merged model (--merged)."
TRANSPOSED = ("embed_tokens", "lm_head")


def write_adapter(
    folder: Path,
    base: Path,
    path: Path,
    *,
    number_format: NumberFormat = "f32",
    progress: Progress = SILENT,
) -> GgufFile:
    """Write the LoRA adapter in ``folder``, trained on the base in ``base``, as ``path``.

    llama.cpp scales a layer's term by alpha / rank, with the rank of that layer's tensors and one
    alpha for all: other scales (rsLoRA, patterns) are folded into B. Raises AdapterError for what
    such a file cannot hold: other methods, DoRA, tokens of its own.
    """
    tensors = dict(StoredTensors(folder))
    settings = require_plain_lora(folder, "GGUF adapters", MERGE_INSTEAD)
    whole = read_config(base, trust_remote_code=False)
    family = family_of(config_alone(whole), base)
    layout = layout_of(whole, family)
    plain = shape(settings, "")
    alpha = plain.scale * plain.rank  # leaves most layers' B unchanged
    parts = _adapter_parts(layout, settings, tensors, alpha, number_format)
    size = sum(part.bytes for part in parts) / 1e6
    progress.phase(f"Writing {path.name} ({number_format}, {size:,.1f} MB).")

    def describe(writer: GGUFWriter) -> None:
        writer.add_type(GGUFType.ADAPTER)
        writer.add_name(folder.name)
        writer.add_string(Keys.Adapter.TYPE, "lora")
        writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)

    return _write(path, parts, family.architecture, describe)


def _adapter_parts(
    layout: TensorLayout,
    settings: LoraSettings,
    tensors: Mapping[str, Tensor],
    alpha: float,
    number_format: NumberFormat,
) -> list[TensorPart]:
    parts = []
    for module in settings.targets:
        a, b = tensors[key_a(module)], tensors[key_b(module)]
        if module.rpartition(".")[2] in TRANSPOSED:
            raise AdapterError(
                f"A GGUF adapter cannot hold a term of {module}.", remedy=MERGE_INSTEAD
            )
        factor = shape(settings, module).scale / (alpha / a.shape[0])
        folded = layout.ordered(module, b if math.isclose(factor, 1) else b.float() * factor)
        name = layout.name(f"{module}.weight")
        parts.append(_part(f"{name}.lora_a", a, number_format))
        parts.append(_part(f"{name}.lora_b", folded, number_format))
    return parts


def stored_type(shape: tuple[int, ...], number_format: NumberFormat) -> GGMLQuantizationType:
    """The number format of a tensor: vectors stay in fp32, rows that 32 does not divide in f16."""
    if len(shape) < 2:
        return GGMLQuantizationType.F32
    if number_format == "q8_0" and shape[-1] % Q8_BLOCK:
        return GGMLQuantizationType.F16
    return GGMLQuantizationType[number_format.upper()]


def stored_bytes(shape: tuple[int, ...], kind: GGMLQuantizationType) -> int:
    """The size of a tensor in a number format."""
    return math.prod(quants.quant_shape_to_byte_shape(shape, kind))


def stored(name: str, tensor: Tensor, kind: GGMLQuantizationType) -> NDArray[np.uint8]:
    """The tensor's bytes in a number format, made a block of rows at a time.

    Raises ModelError where f16 cannot hold a weight.
    """
    rows = tensor.reshape(-1, tensor.shape[-1]) if tensor.dim() else tensor.reshape(1, 1)
    out = np.empty(stored_bytes(tuple(tensor.shape), kind), dtype=np.uint8)
    start = 0
    for block in _blocks(rows):
        packed = np.ascontiguousarray(quants.quantize(_exact(name, block, kind), kind))
        flat = packed.reshape(-1).view(np.uint8)
        out[start : start + flat.size] = flat
        start += flat.size
    assert start == out.size
    return out


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    at_once = max(1, BLOCK_ELEMENTS // rows.shape[1])
    for start in range(0, rows.shape[0], at_once):
        yield rows[start : start + at_once]


def _exact(name: str, block: Tensor, kind: GGMLQuantizationType) -> NDArray[np.float32]:
    values = block.detach().to("cpu", torch.float32)
    most = float(values.abs().max()) if values.numel() else 0.0
    if not math.isfinite(most):
        raise ModelError(f"{name} holds a weight that is not finite.")
    # Q8_0 keeps a scale for each block in f16.
    limit = float(np.finfo(np.float16).max) * {GGMLQuantizationType.Q8_0: 127}.get(kind, 1)
    if kind in (GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0) and most > limit:
        raise ModelError(
            f"{name} holds a weight of {most:.4g}, which {kind.name.lower()} cannot hold.",
            remedy="Export it as bf16 or f32.",
        )
    array: NDArray[np.float32] = values.contiguous().numpy()
    return array
