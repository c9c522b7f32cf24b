"""On which device, and in which number format, a base is held."""

from typing import Literal

import torch

from tunesmith.core.errors import ModelError
from tunesmith.core.numbers import pluralize

DtypeChoice = Literal["auto", "bfloat16", "float32"]


def detect_device(choice: str = "auto") -> torch.device:
    """The chosen device, or the first GPU if there is one; raises ModelError if it is absent."""
    if choice == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(choice)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ModelError(f"Device {choice!r} is not supported.", remedy="Use auto, cpu or cuda:N.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ModelError(
            f"Device {choice!r} is not here: this machine shows {pluralize(count, 'CUDA device')} "
            "to torch.",
            remedy="Use --device auto, or install a torch build for your GPU.",
        )
    return device


def detect_dtype(choice: DtypeChoice, device: torch.device) -> tuple[torch.dtype, str]:
    """The format and, in one line, why; auto takes bfloat16 where the hardware multiplies in it.

    Without that, bfloat16 on a processor is emulated, 44 to 500 times slower (pytorch#146508).
    """
    native = _multiplies_in_bfloat16(device)
    where = "this GPU" if device.type == "cuda" else "this processor"
    if choice == "float32":
        return torch.float32, "float32: asked for"
    if choice == "bfloat16" and native:
        return torch.bfloat16, "bfloat16: asked for"
    if choice == "bfloat16":
        reason = f"{where} emulates it, 44 to 500 times slower than float32 (pytorch#146508)"
        return torch.bfloat16, f"bfloat16: asked for, but {reason}"
    if choice != "auto":
        raise ModelError(f"dtype {choice!r} is unknown.", remedy="Use auto, bfloat16 or float32.")
    if native:
        return torch.bfloat16, f"bfloat16: {where} has it"
    return torch.float32, f"float32: {where} has no bfloat16 instructions"


def _multiplies_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
