"""A device: what is set before its first use, what of it is recorded, how numbers get there."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tunesmith.core import ranks
from tunesmith.engine.memory import bound_kernel_caches, keep_freed_memory

# cuBLAS gives the same sums twice only with a workspace of its own.
_WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
_DRIVER = Path("/proc/driver/nvidia/version")
ALIGNMENT = 16  # bytes: each tensor begins where any format may


def set_up(device: torch.device) -> None:
    """Before a base is loaded; what the user's environment sets has priority.

    A CPU keeps freed memory. On CUDA repeated rows are summed in one order, so that the same run
    twice gives the same bytes; an operation that has no such order warns.
    """
    if device.type == "cpu":
        bound_kernel_caches()
        keep_freed_memory()
    elif device.type == "cuda":
        if ranks.size() > 1:
            torch.cuda.set_device(device)  # what NCCL and new tensors take
        os.environ.setdefault(*_WORKSPACE)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # else every buffer is filled with NaN first, for code that reads what it did not write
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Switches:
    """What of torch ``set_up`` and a run's settings change for the whole process."""

    threads: int
    deterministic: bool
    warns_only: bool
    fills: bool


def switches() -> Switches:
    """As they are now."""
    return Switches(
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )


AT_FIRST = switches()


def switch_back(to: Switches) -> None:
    """Make them what they were."""
    if torch.get_num_threads() != to.threads:
        torch.set_num_threads(to.threads)
    torch.use_deterministic_algorithms(to.deterministic, warn_only=to.warns_only)
    torch.utils.deterministic.fill_uninitialized_memory = to.fills  # type: ignore[attr-defined]


def describe(device: torch.device) -> dict[str, str]:
    """The device by its name, and on CUDA its driver and the switches that change arithmetic."""
    if device.type == "xpu":
        return {"device": torch.xpu.get_device_name(device)}
    if device.type != "cuda":
        return {"device": device.type}
    return {
        "device": torch.cuda.get_device_name(device),
        "driver": _driver(),
        "cuda": str(torch.version.cuda or torch.version.hip),
        "tf32": str(torch.backends.cuda.matmul.allow_tf32),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
    }


def card_of(device: torch.device) -> str | None:
    """The name of an accelerator; None of a CPU."""
    return None if device.type == "cpu" else describe(device)["device"]


def _driver() -> str:
    """NVIDIA's version of the driver, where Linux shows it."""
    try:
        found = re.search(r"\d+\.\d+(\.\d+)?", _DRIVER.read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[0] if found else "unknown"


def elapsed(device: torch.device, since: float, now: Callable[[], float]) -> float:
    """Seconds since a moment until the device has done all that it was asked for."""
    if device.type in ("cuda", "xpu", "mps"):
        torch.accelerator.synchronize(device)
    return now() - since


def send(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The tensors, which lie on the CPU, on ``device`` by one copy that the host does not wait for.

    A plain copy to a GPU waits until that has done everything it was asked for. On CUDA they go
    through pinned memory: only from there a copy runs beside the host. For a CPU they stay as they
    are.
    """
    if device.type == "cpu" or not tensors:
        return list(tensors)
    ends, size = [], 0
    for tensor in tensors:
        size += -size % ALIGNMENT + tensor.nbytes
        ends.append(size)
    buffer = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for tensor, end in zip(tensors, ends, strict=True):
        _part(buffer, tensor, end).copy_(tensor)
    moved = buffer.to(device, non_blocking=True)
    return [_part(moved, tensor, end) for tensor, end in zip(tensors, ends, strict=True)]


def _part(buffer: Tensor, like: Tensor, end: int) -> Tensor:
    """The bytes before ``end`` as a tensor like this one."""
    return buffer[end - like.nbytes : end].view(like.dtype).view(like.shape)
