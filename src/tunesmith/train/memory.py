"""How much memory this process has taken at most, and how much it may still take."""

import contextlib
from pathlib import Path

import torch

from tunesmith.engine.allocator import release_freed_memory

RESERVE = 0.10  # of what is available stays free: the kernel kills without asking
_CGROUP_FILES = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)

# How allocators say it that do not raise torch's own error: of processors, MPS, AMD and drivers.
_RUN_OUT = ("out of memory", "not enough memory", "allocate memory", "alloc_failed")


def has_run_out(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on any device."""
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


def peak_bytes(device: torch.device) -> int:
    """Largest memory so far: the allocator's on a GPU, the resident set (VmHWM) on a CPU.

    Not ru_maxrss: that is inherited through fork and exec.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return _status("VmHWM")


def forget_peak(device: torch.device) -> None:
    """Let the peak begin anew from what is held now, where the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def held_bytes(device: torch.device) -> int:
    """Memory that the process holds now, freed tensors that are kept for reuse included."""
    if device.type == "cuda":
        return int(torch.cuda.memory_reserved(device))
    return _status("VmRSS")


def available_bytes(device: torch.device) -> int | None:
    """Memory that may still be taken, less a reserve; None where nobody tells."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int((free + reusable) * (1 - RESERVE))
    limits = [_meminfo("MemAvailable"), *(_cgroup(*files) for files in _CGROUP_FILES)]
    known = [limit for limit in limits if limit is not None]
    return int(min(known) * (1 - RESERVE)) if known else None


def _status(key: str) -> int:
    return _kilobytes(Path("/proc/self/status"), key) or 0


def _meminfo(key: str) -> int | None:
    return _kilobytes(Path("/proc/meminfo"), key)


def _kilobytes(path: Path, key: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


def _cgroup(limit: Path, current: Path) -> int | None:
    try:
        text = limit.read_text().strip()
        return None if text == "max" else int(text) - int(current.read_text())
    except (OSError, ValueError):
        return None
