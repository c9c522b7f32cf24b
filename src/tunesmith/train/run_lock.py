"""One process at a time works on a run; the system drops the lock when its holder dies."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tunesmith.errors import RunError

LOCK = ".lock"


@contextlib.contextmanager
def alone(run: Path) -> Iterator[None]:
    """Hold the run in this folder; raises RunError where another process does."""
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            f"{run}: another process is working on this run.",
            remedy=f"Wait for it; `tunesmith runs show {run}` tells how far it is.",
            code="running",
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_held(run: Path) -> bool:
    """Whether a process is working on the run in this folder."""
    if not (run / LOCK).exists():
        return False
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # somebody else's folder
        return False
    lock.release()
    return False
