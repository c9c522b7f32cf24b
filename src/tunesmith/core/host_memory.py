"""The memory of this machine's processor: what this process takes, and what is still available."""

import contextlib
import os
from pathlib import Path

RESERVE = 0.10  # of what is available stays free: the kernel kills without asking
_CGROUP_FILES = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def available_bytes() -> int | None:
    """Memory that may still be taken, less a reserve; None where it is unknown."""
    limits = [_kilobytes("meminfo", "MemAvailable"), *(_cgroup(*files) for files in _CGROUP_FILES)]
    known = [limit for limit in limits if limit is not None]
    return int(min(known) * (1 - RESERVE)) if known else None


def total_bytes() -> int | None:
    """All memory of the machine; None where it is unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def held_bytes() -> int | None:
    """What this process has in memory now (VmRSS), freed tensors that are kept for reuse included.

    None where the system does not say.
    """
    return _kilobytes("self/status", "VmRSS")


def peak_bytes() -> int | None:
    """The most that it had (VmHWM); None where the system does not say.

    Not ru_maxrss: that is inherited through fork and exec.
    """
    return _kilobytes("self/status", "VmHWM")


def forget_peak() -> None:
    """Reset the peak to what is held now, where the system allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def processor() -> dict[str, str]:
    """The first processor's lines of Linux' /proc/cpuinfo; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _kilobytes(file: str, key: str) -> int | None:
    try:
        lines = Path("/proc", file).read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


def _cgroup(limit: Path, current: Path) -> int | None:
    """What a container's limit leaves free; pages of files, which are given up on need, are."""
    try:
        text = limit.read_text().strip()
        return None if text == "max" else int(text) - int(current.read_text()) + _cached(current)
    except (OSError, ValueError):
        return None


_FILE_PAGES = ("inactive_file", "active_file")


def _cached(current: Path) -> int:
    """Bytes of files that the container's memory holds; of its children too in version 1."""
    try:
        lines = current.with_name("memory.stat").read_text().splitlines()
    except OSError:
        return 0
    known = dict(line.split() for line in lines if line.count(" ") == 1)
    below = "total_" if f"total_{_FILE_PAGES[0]}" in known else ""
    return sum(int(known.get(f"{below}{name}", 0)) for name in _FILE_PAGES)
