"""The memory that this process has used at most, and how much is still available.

glibc maps every large tensor of a CPU anew and the kernel clears its pages again: measured at a
tenth of a training step. 16-bit products keep a compiled kernel for every new shape, in two caches
of 1,024: about 0.6 MB a shape, and packed streams are all of different lengths (docs/log.md).
"""

import ctypes
import os
import platform
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from tunesmith.core import host_memory
from tunesmith.core.host_memory import RESERVE


class Workspace:
    """Buffers of a shape and format, each used by one call at a time.

    A call whose buffer is in use gets a new one; a buffer that is never given back is dropped.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[tuple[int, ...], torch.dtype, torch.device], Tensor] = {}

    def take(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """A buffer with whatever is in it."""
        kept = self._free.pop((tuple(shape), dtype, device), None)
        return torch.empty(*shape, dtype=dtype, device=device) if kept is None else kept

    def give(self, *buffers: Tensor) -> None:
        """Hand buffers back; their contents may be overwritten from now on."""
        for buffer in buffers:
            self._free[tuple(buffer.shape), buffer.dtype, buffer.device] = buffer


# The inner cache (oneDNN's) holds the shapes of one micro-batch, which all layers share; the outer
# one (torch's) holds the same kernels again and saves no time.
_KERNEL_CACHES = {"LRU_CACHE_CAPACITY": "1", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "160"}

_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1  # malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let glibc reuse freed memory; False where the C library is another one."""
    return _glibc("mallopt", _M_MMAP_MAX, 0) and _glibc("mallopt", _M_TRIM_THRESHOLD, _LARGEST)


def keeps_freed_memory() -> bool:
    """Whether ``keep_freed_memory`` can work here."""
    return sys.platform.startswith("linux") and platform.libc_ver()[0] == "glibc"


def _glibc(function: str, *arguments: int) -> bool:
    """The result of a function of glibc; False where the C library is another one."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(getattr(ctypes.CDLL("libc.so.6"), function)(*arguments))
    except (OSError, AttributeError):
        return False


def bound_kernel_caches() -> None:
    """Keep few compiled kernels; works before the first product; a user's setting has priority."""
    for name, capacity in _KERNEL_CACHES.items():
        os.environ.setdefault(name, capacity)


def release_freed_memory() -> bool:
    """Return unused pages to the system; False on another C library."""
    return _glibc("malloc_trim", 0)


# Messages of allocators that do not raise torch's own error: of processors, MPS, AMD and drivers.
_RUN_OUT = ("out of memory", "not enough memory", "allocate memory", "alloc_failed")


def has_run_out(error: BaseException) -> bool:
    """Whether an error reports that no memory was left, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _RUN_OUT)


def release(device: torch.device) -> None:
    """Give memory that holds no tensor back to the device, for requests of another size."""
    if device.type == "cpu":
        release_freed_memory()
    elif torch.accelerator.is_available():
        torch.accelerator.empty_cache()


# Whose allocators count what they hold; that of MPS does so in its own words.
_COUNTED = ("cuda", "xpu")


def peak_bytes(device: torch.device) -> int:
    """Largest memory so far: the allocator's on a GPU, the resident set (VmHWM) on a CPU.

    Not ru_maxrss: that is inherited through fork and exec.
    """
    if device.type in _COUNTED:
        return torch.accelerator.max_memory_allocated(device)
    if device.type == "mps":  # which keeps no peak, and gives nothing back by itself
        return torch.mps.driver_allocated_memory()
    return host_memory.peak_bytes() or 0


def forget_peak(device: torch.device) -> None:
    """Reset the peak to what is held now, where the system allows it."""
    if device.type in _COUNTED:
        torch.accelerator.reset_peak_memory_stats(device)
        return
    host_memory.forget_peak()


def held_bytes(device: torch.device) -> int:
    """Memory that the process holds now, freed tensors that are kept for reuse included."""
    if device.type in _COUNTED:
        return torch.accelerator.memory_reserved(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return host_memory.held_bytes() or 0


def available_bytes(device: torch.device) -> int | None:
    """Memory that may still be taken, less a reserve; None where it is unknown."""
    if device.type in _COUNTED:
        free, _ = torch.accelerator.get_memory_info(device)
        held = torch.accelerator.memory_reserved(device)
        reusable = held - torch.accelerator.memory_allocated(device)
        return int((free + reusable) * (1 - RESERVE))
    if device.type == "mps":
        used = torch.mps.current_allocated_memory()
        return int((torch.mps.recommended_max_memory() - used) * (1 - RESERVE))
    return host_memory.available_bytes()
