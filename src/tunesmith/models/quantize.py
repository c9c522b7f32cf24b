"""A base's folder to one whose linear layers are in 4 bit, once, read in blocks of rows."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from tunesmith.counts import many
from tunesmith.errors import ModelError
from tunesmith.files import require_space
from tunesmith.models.cache import Emit, cache_root, publish
from tunesmith.models.derive import number_format, write_derived
from tunesmith.models.four_bit import quantize, require_kernels, tensors_of
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.models.weights import weight_files

_COMPUTE = "bnb_4bit_compute_dtype"
_QUANTISATION = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "load_in_8bit": False,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_quant_storage": "uint8",
    "llm_int8_skip_modules": ["lm_head"],
}
_SPACE_REMEDY = "Free space, or set TUNESMITH_HOME to a folder on another disk."


def quantized(folder: Path, config: PretrainedConfig, *, dtype: torch.dtype, emit: Emit) -> Path:
    """The 4-bit copy of a base's folder in the cache, made there if it is not; one for each dtype.

    Loads as any pre-quantised folder does, in transformers too. Raises ModelError where it cannot
    be made.
    """
    require_kernels()
    digest = hash_folder(folder)[COMBINED][:12]
    target = cache_root() / "four_bit" / f"{folder.name}-{digest}-nf4-{number_format(dtype)}"
    fill = functools.partial(_fill, folder, config, dtype, emit)
    return publish(target, fill=fill, emit=emit)


def _fill(
    source: Path, config: PretrainedConfig, dtype: torch.dtype, emit: Emit, into: Path
) -> None:
    half = sum(path.stat().st_size for path in weight_files(source)) // 2
    require_space(into, half, what="the 4-bit copy", remedy=_SPACE_REMEDY)
    tensors = _quantised(source, _linears(config), dtype, emit)
    changes = {"quantization_config": {**_QUANTISATION, _COMPUTE: number_format(dtype)}}
    write_derived(source, into, tensors=tensors, dtype=dtype, config=changes)


def _quantised(
    source: Path, linears: frozenset[str], dtype: torch.dtype, emit: Emit
) -> Iterator[dict[str, Tensor]]:
    """The base's tensors one after the other, those of linear layers in 4 bit."""
    files = weight_files(source)
    found = set()
    for number, path in enumerate(files, start=1):
        emit(f"Quantising {path.name} to 4 bit, once ({number} of {len(files)}).")
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                layer = name.removesuffix(".weight")
                if layer in linears:
                    found.add(layer)
                    piece = file.get_slice(name)
                    shape = tuple(piece.get_shape())
                    yield tensors_of(name, quantize(shape, _reader(piece, dtype)))
                else:
                    tensor = file.get_tensor(name)
                    yield {name: tensor.to(dtype) if tensor.is_floating_point() else tensor}
    if absent := sorted(linears - found):
        raise ModelError(
            f"{source}: its files have other names for {many(len(absent), 'linear layer')}: "
            f"{', '.join(absent[:3])}.",
            remedy="Load it with transformers and save it again, or use method lora.",
        )


def _reader(piece: Any, dtype: torch.dtype) -> Callable[[int, int], Tensor]:
    def read(start: int, stop: int) -> Tensor:
        rows: Tensor = piece[start:stop]
        return rows.to(dtype)

    return read


def _linears(config: PretrainedConfig) -> frozenset[str]:
    """The names of all linear layers but the head."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    modules = model.named_modules()
    return frozenset(n for n, m in modules if isinstance(m, nn.Linear) and m is not head)
