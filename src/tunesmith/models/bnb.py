"""bitsandbytes' plain functions, loaded where they are first used and from this machine only."""

import contextlib
import functools
import logging
import sys
from collections.abc import Iterator
from typing import Any


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
    """While bitsandbytes is imported, the package `kernels` seems absent, without a warning.

    With it, a kernel that is not used here would be fetched from a hub on processors with bf16.
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
