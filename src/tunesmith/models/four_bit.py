"""A weight in 4 bit, by bitsandbytes' formats and kernels (QLoRA, arXiv 2305.14314, section 3).

Blocks of 64 weights share one scale; the scales are themselves held in 8 bit, in blocks of 256
(double quantisation). Only bitsandbytes' plain functions are called: the forward of its Linear4bit
repacks the weight in eval mode, after which its gradient is None without an error.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.errors import ModelError
from tunesmith.models.bnb import functional

BLOCK = 64  # weights that share a scale
ROWS_ELEMENTS = 2**22  # quantised at once: the quantiser takes about 20 bytes each for a moment


@dataclass(slots=True, eq=False)
class FourBit:
    """Codes [n / 2, 1] uint8 with bitsandbytes' QuantState, of a weight [D_out, D_in]."""

    codes: Tensor
    state: Any

    def dense(self, dtype: torch.dtype | None = None) -> Tensor:
        """The weight [D_out, D_in], in the format that it was quantised from or in ``dtype``."""
        state = copy.copy(self.state)
        if dtype is not None:
            state.dtype = torch.float32 if dtype == torch.float64 else dtype
        # bitsandbytes' kernel for processors (0.50) takes wrong scales where rows do not end with
        # blocks; as one row it is right everywhere, and slower.
        if state.shape[-1] % BLOCK:
            state.shape = torch.Size([state.shape.numel()])
        weight: Tensor = functional().dequantize_4bit(self.codes, state)
        return weight.view(self.state.shape).to(dtype or weight.dtype)


def four_bit_of(linear: nn.Linear) -> FourBit | None:
    """What a layer of a 4-bit base holds; None for a dense one."""
    state = getattr(linear.weight, "quant_state", None)
    return None if state is None else FourBit(linear.weight.data, state)


def quantize(shape: tuple[int, int], read_rows: Callable[[int, int], Tensor]) -> FourBit:
    """NF4 with double quantisation of a weight [D_out, D_in] that is read in blocks of rows.

    ``read_rows(start, stop)`` gives them in 16 or 32 bit. The same codes and scales as
    bitsandbytes makes of the whole weight at once.
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
    state.absmax, state.state2 = functions.quantize_blockwise(absmax - state.offset, blocksize=256)
    state.nested = True
    return FourBit(torch.cat(codes), state)


def tensors_of(name: str, weight: FourBit) -> dict[str, Tensor]:
    """The tensors of a 4-bit weight as bitsandbytes and transformers store them."""
    parts: dict[str, Tensor] = weight.state.as_dict(packed=True)
    return {name: weight.codes, **{f"{name}.{key}": tensor for key, tensor in parts.items()}}


def require_kernels() -> None:
    """Raise ModelError where 4-bit weights cannot be made or read on this machine."""
    try:
        functions = functional()
        codes, state = functions.quantize_4bit(torch.ones(1, BLOCK), quant_type="nf4")
        functions.dequantize_4bit(codes, state)
    except (ImportError, RuntimeError, NotImplementedError, OSError) as error:
        raise ModelError(
            f"4 bit needs bitsandbytes, which does not work here: {_first_line(error)}",
            remedy="Install it (pip install bitsandbytes), or use method lora.",
        ) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
