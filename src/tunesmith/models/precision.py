"""On which device, and in which number format, a base is held."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch

from tunesmith.core import ranks
from tunesmith.core.errors import ModelError
from tunesmith.core.numbers import pluralize

DtypeChoice = Literal["auto", "bfloat16", "float16", "float32"]

# The first CUDA capability whose cards multiply in float16 faster than in float32 (V100).
_FAST_FLOAT16 = (7, 0)
_MACOS_WITH_BFLOAT16 = (14, 0)

# Devices of each kind that this machine shows to torch.
COUNTS: Mapping[str, Callable[[], int]] = {
    "cpu": lambda: 1,
    "cuda": lambda: torch.cuda.device_count() if torch.cuda.is_available() else 0,
    "xpu": lambda: torch.xpu.device_count() if torch.xpu.is_available() else 0,
    "mps": lambda: int(torch.backends.mps.is_available()),
}


def detect_device(choice: str = "auto") -> torch.device:
    """The chosen device; ModelError if it is absent.

    ``auto`` is CUDA if there is a card, else the processor: on Apple's and Intel's GPUs Tunesmith
    was never run (docs/gpu.md), so they must be asked for. Each rank has a card of its own.
    """
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks.size() > 1 and choice in ("cuda", "xpu"):
        return _own_card(choice)
    try:
        device = torch.device(choice)
    except RuntimeError:
        device = None
    if device is None or device.type not in COUNTS:
        raise ModelError(
            f"Device {choice!r} is not supported.", remedy="Use auto, cpu, cuda:N, mps or xpu:N."
        )
    count = COUNTS[device.type]()
    if (device.index or 0) >= count:
        name = device.type.upper()
        raise ModelError(
            f"Device {choice!r} is not here: this machine shows "
            f"{pluralize(count, f'{name} device')} to torch.",
            remedy="Use --device auto, or install a torch build for your GPU.",
        )
    return device


def _own_card(kind: str) -> torch.device:
    """The card of this rank; ModelError where its machine has fewer cards than ranks."""
    count, wanted = COUNTS[kind](), ranks.local_size()
    if ranks.local_rank() >= count:
        raise ModelError(
            f"This machine shows {pluralize(count, f'{kind.upper()} device')} to torch, and has "
            f"{wanted} ranks: each takes one.",
            remedy=f"Start as many ranks as devices: --nproc-per-node {max(1, count)}.",
        )
    return torch.device(kind, ranks.local_rank())


def detect_dtype(choice: DtypeChoice, device: torch.device) -> tuple[torch.dtype, str]:
    """The format and, in one line, why; auto takes bfloat16 where the hardware multiplies in it.

    Without that, bfloat16 on a processor is emulated, 44 to 500 times slower (pytorch#146508), and
    a GPU takes float16 where that is fast: gradients are scaled then (training/loss_scale.py).
    """
    native = _multiplies_in_bfloat16(device)
    where = "this processor" if device.type == "cpu" else "this GPU"
    if choice == "float32":
        return torch.float32, "float32: asked for"
    if choice == "bfloat16" and native:
        return torch.bfloat16, "bfloat16: asked for"
    if choice == "bfloat16" and device.type == "cpu":
        reason = f"{where} emulates it, 44 to 500 times slower than float32 (pytorch#146508)"
        return torch.bfloat16, f"bfloat16: asked for, but {reason}"
    if choice == "bfloat16":
        return torch.bfloat16, f"bfloat16: asked for, but {where} does not multiply in it"
    if choice == "float16":
        return torch.float16, "float16: asked for; the loss is scaled in training"
    if choice != "auto":
        raise ModelError(
            f"dtype {choice!r} is unknown.", remedy="Use auto, bfloat16, float16 or float32."
        )
    if native:
        return torch.bfloat16, f"bfloat16: {where} has it"
    if _multiplies_in_float16(device):
        return torch.float16, f"float16: {where} has no bfloat16; the loss is scaled in training"
    return torch.float32, f"float32: {where} has no bfloat16 instructions"


def _multiplies_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "xpu":
        return bool(torch.xpu.is_bf16_supported(including_emulation=False))
    if device.type == "mps":
        return bool(torch.backends.mps.is_macos_or_newer(*_MACOS_WITH_BFLOAT16))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _multiplies_in_float16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _FAST_FLOAT16
    return device.type in ("mps", "xpu")
