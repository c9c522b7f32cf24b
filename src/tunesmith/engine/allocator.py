"""Keep freed memory for the next tensor instead of giving it back to the system each time.

glibc maps every large tensor anew and the kernel clears its pages again: measured at a tenth of a
training step on a CPU (docs/log.md).
"""

import ctypes
import sys

_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1  # malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed memory; False where the C library is another one."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))


def release_freed_memory() -> bool:
    """Give pages that hold no tensor now back to the system; False on another C library."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL("libc.so.6").malloc_trim(0))
    except (OSError, AttributeError):
        return False
