"""Where fetched and converted bases live, and how one appears there once."""

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

from tunesmith.core import files, locks
from tunesmith.core.errors import ModelError
from tunesmith.core.files import cache_root as cache_root  # the layers above import it from here
from tunesmith.core.progress import SILENT, Progress


def models_root() -> Path:
    """The folder of the cache that holds one folder per base."""
    return cache_root() / "models"


def publish(folder: Path, *, fill: Callable[[Path], None], progress: Progress = SILENT) -> Path:
    """``folder``, made by ``fill(temporary sibling)`` unless it is there already.

    Only a complete folder ever has this name. One process fills, others wait for it. Raises
    ModelError when the cache cannot be written.
    """

    def report_wait() -> None:
        progress.phase(f"Another process is preparing {folder.name}; waiting for it.")

    if not folder.is_dir():
        lock = folder.parent / f".{folder.name}.lock"
        with _writable(folder.parent), locks.held(lock, taken=report_wait):
            if not folder.is_dir():
                files.replace_folder(folder, fill)
    return folder


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def _writable(parent: Path) -> Iterator[None]:
    """Turn a refusal by the file system into a ModelError with the place and the remedy."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            raise
        raise ModelError(
            f"The cache {parent} cannot be written: {error.strerror}.",
            remedy="Set TUNESMITH_HOME to a folder with room that you may write to.",
        ) from error
