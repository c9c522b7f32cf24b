"""What becomes of each tensor of a base in GGUF: its name, its rows' order, its number format."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from gguf import MODEL_ARCH_NAMES, GGMLQuantizationType, TensorNameMap, get_tensor_name_map, quants
from numpy.typing import NDArray
from torch import Tensor
from transformers import PretrainedConfig

from tunesmith.core.errors import ModelError
from tunesmith.exports.gguf_families import Family

NumberFormat = Literal["f32", "bf16", "f16", "q8_0"]
TYPES: dict[NumberFormat, GGMLQuantizationType] = {
    "f32": GGMLQuantizationType.F32,
    "bf16": GGMLQuantizationType.BF16,
    "f16": GGMLQuantizationType.F16,
    "q8_0": GGMLQuantizationType.Q8_0,
}
Q8_BLOCK = 32  # weights of a row that share a scale
BLOCK_ELEMENTS = 1 << 20  # converted at a time, so that fp32 copies stay small


@dataclass(frozen=True, slots=True)
class TensorLayout:
    """Names and row order of a base of one family."""

    family: Family
    names: TensorNameMap
    heads: int
    key_heads: int

    def name(self, name: str) -> str:
        """The GGUF name of a tensor; ModelError for one that llama.cpp does not know."""
        found = self.names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise ModelError(
                f"{name} has no name in GGUF's {self.family.architecture}.",
                remedy="Export it as a folder (merged or peft).",
            )
        return str(found)

    def ordered(self, name: str, rows: Tensor) -> Tensor:
        """``rows`` [D_out, ...] of the linear layer ``name`` (or of its LoRA B) as llama.cpp wants.

        Only the queries and keys of a llama change place.
        """
        heads = {"q_proj": self.heads, "k_proj": self.key_heads}.get(name.rpartition(".")[2])
        if heads is None or not self.family.interleaved:
            return rows
        return interleaved(rows, heads)


def layout_of(config: PretrainedConfig, family: Family) -> TensorLayout:
    """The layout of a base with this config."""
    architecture = next(a for a, n in MODEL_ARCH_NAMES.items() if n == family.architecture)
    names = get_tensor_name_map(architecture, config.num_hidden_layers)
    return TensorLayout(family, names, config.num_attention_heads, config.num_key_value_heads)


def interleaved(rows: Tensor, heads: int) -> Tensor:
    """Rows [H Dh, ...] of each head with its halves woven together: 0, Dh/2, 1, Dh/2 + 1, ..."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.transpose(1, 2).reshape(rows.shape)


def stored_type(shape: tuple[int, ...], number_format: NumberFormat) -> GGMLQuantizationType:
    """The number format of a tensor: vectors stay in fp32, rows that 32 does not divide in f16."""
    if len(shape) < 2:
        return GGMLQuantizationType.F32
    if number_format == "q8_0" and shape[-1] % Q8_BLOCK:
        return GGMLQuantizationType.F16
    return TYPES[number_format]


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
        raise ModelError(f"{name} holds a weight that is no finite number.")
    # Q8_0 keeps a scale for each block in f16.
    limit = float(np.finfo(np.float16).max) * {GGMLQuantizationType.Q8_0: 127}.get(kind, 1)
    if kind in (GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0) and most > limit:
        raise ModelError(
            f"{name} holds a weight of {limit:.4g}, which {kind.name.lower()} cannot hold.",
            remedy="Export it as bf16 or f32.",
        )
    array: NDArray[np.float32] = values.contiguous().numpy()
    return array
