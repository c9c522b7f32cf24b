"""What the C library and torch's CPU kernels do with memory between two calls.

glibc maps every large tensor anew and the kernel clears its pages again: measured at a tenth of a
training step on a CPU. Products in 16 bit keep a compiled kernel for every new shape, in two caches
of 1,024: about 0.6 MB a shape, and packed streams are all of different lengths (docs/log.md).
"""

import ctypes
import os
import sys

# The inner cache (oneDNN's) holds the shapes of one micro-batch, which all layers share; the outer
# one (torch's) holds the same kernels once more and saves no time.
_KERNEL_CACHES = {"LRU_CACHE_CAPACITY": "1", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "160"}

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


def bound_kernel_caches() -> None:
    """Keep few compiled kernels; works before the first product, and a user's setting stands."""
    for name, capacity in _KERNEL_CACHES.items():
        os.environ.setdefault(name, capacity)


def release_freed_memory() -> bool:
    """Give pages that hold no tensor now back to the system; False on another C library."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(ctypes.CDLL("libc.so.6").malloc_trim(0))
    except (OSError, AttributeError):
        return False
