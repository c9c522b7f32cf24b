"""Which process holds a lock file: the system drops the lock when its holder dies."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

# Whoever only asks (`is_held`) has the lock for an instant, and is no holder.
PATIENCE_SECONDS, POLL_SECONDS = 0.1, 0.02


@contextlib.contextmanager
def held(path: Path, *, taken: Callable[[], object]) -> Iterator[None]:
    """Hold the lock at ``path``. Where another does, ``taken`` raises, or the lock is waited for.

    Raises OSError where the file system refuses.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PATIENCE_SECONDS, poll_interval=POLL_SECONDS)
    except Timeout:
        taken()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock at ``path``."""
    lock = FileLock(path)
    try:
        if not path.exists():
            return False
        lock.acquire(timeout=PATIENCE_SECONDS, poll_interval=POLL_SECONDS)
    except Timeout:
        return True
    except PermissionError:  # somebody else's folder
        return _is_held_by_another(path)
    except OSError:
        return False
    lock.release()
    return False


def _is_held_by_another(path: Path) -> bool:
    """The same of a file that may only be read; False where not even that, or on Windows."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
