"""4-bit weights (QLoRA, arXiv 2305.14314, section 3): one weight, and a whole base, once.

Blocks of 64 weights share one scale; the scales are themselves quantized to 8-bit, in blocks of 256
(double quantization). Only bitsandbytes' plain functions are called: the forward of its Linear4bit
repacks the weight in eval mode, after which its gradient is None without an error.
"""

import contextlib
import copy
import functools
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PretrainedConfig

from tunesmith.core.errors import ModelError
from tunesmith.core.files import require_space
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Progress
from tunesmith.models.cache import cache_root, publish
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.models.layout import BLOCKS, SCALES
from tunesmith.models.text_part import empty_model, file_names, towers_of
from tunesmith.models.weights import number_format, read_weight, weight_files, write_derived

if TYPE_CHECKING:  # it imports the package `kernels` where that is installed
    from transformers import PreTrainedModel


@functools.cache
def functional() -> Any:
    """The module bitsandbytes.functional.

    Raises ImportError, RuntimeError or OSError where it does not work.
    """
    with _no_hub_kernels():
        from bitsandbytes import functional
    return functional


@contextlib.contextmanager
def _no_hub_kernels() -> Iterator[None]:
    """Hide the package `kernels` while bitsandbytes is imported, without a warning.

    Otherwise bitsandbytes fetches an unused kernel from a hub on processors with bf16.
    """
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    level, present = logger.level, {k: v for k, v in sys.modules.items() if k == "kernels"}
    logger.setLevel(logging.ERROR)
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        logger.setLevel(level)
        del sys.modules["kernels"]
        sys.modules.update(present)


CPU = torch.device("cpu")
BLOCK = 64  # weights that share a scale
SCALE_BLOCK = 256  # scales that share one of their own
PROBE = 2**20  # weights by which two devices' codes are compared
ROWS_ELEMENTS = 2**22  # quantized at once: the quantizer takes about 20 bytes for each temporarily


@dataclass(slots=True, eq=False)
class FourBit:
    """Codes [n / 2, 1] uint8 with bitsandbytes' QuantState, of a weight [D_out, D_in]."""

    codes: Tensor
    state: Any

    def dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """The weight [D_out, D_in], in the format that it was quantized from or in ``dtype``."""
        state = copy.copy(self.state)
        if dtype is not None:
            state.dtype = torch.float32 if dtype == torch.float64 else dtype
        # bitsandbytes' kernel for processors (0.50) uses wrong scales where rows do not end with
        # blocks; as one row it is always right, and slower.
        if state.shape[-1] % BLOCK:
            state.shape = torch.Size([state.shape.numel()])
        weight: Tensor = functional().dequantize_4bit(self.codes, state)
        return weight.view(self.state.shape).to(dtype or weight.dtype)

    def has_product(self, x: Tensor) -> bool:
        """Whether `product` computes x W^T of an x [n, D_in] without the dense weight.

        On CUDA; for how many rows that is faster on a card, bitsandbytes has measured.
        """
        nested = self.state.nested and self.state.state2.blocksize == SCALE_BLOCK
        aligned = nested and self.state.shape[-1] % BLOCK == 0
        return aligned and x.device.type == "cuda" and x.dtype != torch.float64

    def product(self, x: Tensor) -> Tensor:
        """x W^T [n, D_out] of x [n, D_in]."""
        functional()  # registers the operator
        state = self.state
        y: Tensor = torch.ops.bitsandbytes.gemm_4bit(
            x,
            self.codes,
            state.shape,
            state.state2.absmax,
            state.blocksize,
            state.quant_type,
            absmax_8bit=state.absmax,
            absmax_code=state.state2.code,
            absmax_offset=state.offset,
        )
        return y


def four_bit_of(linear: nn.Linear) -> FourBit | None:
    """The codes of a layer of a 4-bit base; None for a dense one."""
    state = getattr(linear.weight, "quant_state", None)
    return None if state is None else FourBit(linear.weight.data, state)


def quantize(shape: tuple[int, int], read_rows: Callable[[int, int], Tensor]) -> FourBit:
    """NF4 with double quantization of a weight [D_out, D_in] that is read in blocks of rows.

    ``read_rows(start, stop)`` gives them as 16- or 32-bit numbers. Codes and scales equal those
    that bitsandbytes makes of the whole weight at once.
    """
    functions = functional()
    height, width = shape
    rows = max(1, ROWS_ELEMENTS // (width * BLOCK)) * BLOCK  # so that blocks end with them
    codes, scales, state = [], [], None
    for start in range(0, height, rows):
        part, state = functions.quantize_4bit(
            read_rows(start, min(height, start + rows)).contiguous(), quant_type="nf4"
        )
        codes.append(part)
        scales.append(state.absmax)
    assert state is not None, "a weight has rows"
    absmax = torch.cat(scales)
    state.shape = torch.Size(shape)
    state.offset = absmax.mean()
    state.absmax, state.state2 = functions.quantize_blockwise(
        absmax - state.offset, blocksize=SCALE_BLOCK
    )
    state.nested = True
    return FourBit(torch.cat(codes), state)


def tensors_of(name: str, weight: FourBit) -> dict[str, Tensor]:
    """The tensors of a 4-bit weight as bitsandbytes and transformers store them."""
    parts: dict[str, Tensor] = weight.state.as_dict(packed=True)
    return {name: weight.codes, **{f"{name}.{key}": tensor for key, tensor in parts.items()}}


def require_kernels(device: torch.device = CPU) -> None:
    """Raise ModelError where 4-bit weights cannot be made or read on this machine's device."""
    try:
        functions = functional()
        ones = torch.ones(1, BLOCK, device=device)
        functions.dequantize_4bit(*functions.quantize_4bit(ones, quant_type="nf4"))
    except (ImportError, RuntimeError, NotImplementedError, OSError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        where, remedy = "here", "Install it again (pip install bitsandbytes accelerate)"
        if device.type not in ("cpu", "cuda"):
            where, remedy = f"on device {device}", "Set device to cpu"
        raise ModelError(
            f"4-bit weights need bitsandbytes, which does not work {where}: {reason}",
            remedy=f"{remedy}, or use method lora.",
        ) from error


@functools.cache
def has_same_codes(device: torch.device) -> bool:
    """Whether a device quantizes as the processor does, to the last bit; found out once.

    By a weight with numbers of all sizes and whole blocks of zeros, which are where roundings part.
    """
    if device.type == "cpu":
        return True
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(PROBE, generator=generator) * 10 ** torch.randn(PROBE, generator=generator)
    weight[: 2 * BLOCK] = 0
    weight = weight.view(-1, BLOCK).bfloat16()

    def made(on: torch.device) -> dict[str, Tensor]:
        return tensors_of("", quantize((PROBE // BLOCK, BLOCK), lambda i, j: weight[i:j].to(on)))

    other = made(device)
    return all(torch.equal(tensor, other[name].cpu()) for name, tensor in made(CPU).items())


_COMPUTE = "bnb_4bit_compute_dtype"
_QUANTIZATION: dict[str, Any] = {
    "quant_method": "bitsandbytes",
    "load_in_4bit": True,
    "load_in_8bit": False,
    "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True,
    "bnb_4bit_quant_storage": "uint8",
    "llm_int8_skip_modules": ["lm_head"],
}
_SPACE_REMEDY = "Free space, or set TUNESMITH_HOME to a folder on another disk."


def quantized(
    folder: Path,
    config: PretrainedConfig,
    *,
    dtype: torch.dtype,
    progress: Progress,
    device: torch.device = CPU,
) -> Path:
    """The 4-bit copy of a base's folder in the cache, made once for each dtype, on ``device``.

    Devices that make the same codes share it. It loads as any pre-quantized folder, in
    transformers too. Raises ModelError where it cannot be made.
    """
    require_kernels(device)
    digest = hash_folder(folder)[COMBINED][:12]
    name = f"{folder.name}-{digest}-nf4-{number_format(dtype)}"
    name += "" if has_same_codes(device) else f"-{device.type}"
    target = cache_root() / "four_bit" / name
    fill = functools.partial(_fill, folder, config, _Numbers(dtype, device), progress)
    return publish(target, fill=fill, progress=progress)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What weights are read as, and where they are quantized."""

    dtype: torch.dtype
    device: torch.device


def _fill(
    source: Path, config: PretrainedConfig, numbers: _Numbers, progress: Progress, into: Path
) -> None:
    dtype = numbers.dtype
    half = sum(path.stat().st_size for path in weight_files(source)) // 2
    require_space(into, half, what="the 4-bit copy", remedy=_SPACE_REMEDY)
    model = empty_model(config)
    names = file_names(source, model)
    linears = frozenset(names[f"{name}.weight"] for name in _linears(model))
    skipped = [*_QUANTIZATION["llm_int8_skip_modules"], *towers_of(model).modules]
    tensors = _quantized(source, linears, names.others, numbers, progress)
    settings = {**_QUANTIZATION, _COMPUTE: number_format(dtype), "llm_int8_skip_modules": skipped}
    changes = {"quantization_config": settings}
    write_derived(source, into, tensors=tensors, dtype=dtype, config=changes)


def _quantized(
    source: Path,
    linears: frozenset[str],
    others: frozenset[str],
    numbers: _Numbers,
    progress: Progress,
) -> Iterator[dict[str, Tensor]]:
    """The tensors of the base's files one after the other, those of ``linears`` quantized.

    ``others`` are no part of the language model, and stay as they are.
    """
    files = weight_files(source)
    found = set()
    phase = progress.phase(f"Quantizing {source.name} to 4-bit, once", len(files))
    for path in phase.over(files):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                if name in linears:
                    found.add(name)
                    piece = file.get_slice(name)
                    read = functools.partial(_read_rows, piece, numbers)
                    made = tensors_of(name, quantize(tuple(piece.get_shape()), read))
                    yield {key: part.cpu() for key, part in made.items()}
                elif name.endswith(BLOCKS):  # of experts in MXFP4
                    whole = name.removesuffix(BLOCKS)
                    yield {whole: read_weight(source, whole).to(numbers.dtype)}
                elif not name.endswith(SCALES):
                    tensor = file.get_tensor(name)
                    is_cast = tensor.is_floating_point() and name not in others
                    yield {name: tensor.to(numbers.dtype) if is_cast else tensor}
    if absent := sorted(linears - found):
        raise ModelError(
            f"{source}: its files have other names for {pluralize(len(absent), 'linear layer')}: "
            f"{', '.join(absent[:3])}.",
            remedy="Load it with transformers and save it again, or use method lora.",
        )


def _read_rows(piece: Any, numbers: _Numbers, start: int, stop: int) -> Tensor:
    rows: Tensor = piece[start:stop]
    return rows.to(numbers.device).to(numbers.dtype)


def _linears(model: "PreTrainedModel") -> frozenset[str]:
    """The names of all linear layers but the head."""
    head = model.get_output_embeddings()
    modules = model.named_modules()
    return frozenset(n for n, m in modules if isinstance(m, nn.Linear) and m is not head)
