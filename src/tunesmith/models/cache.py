"""Where fetched and converted bases live, and how one appears there whole or not at all."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tunesmith.errors import ModelError

Emit = Callable[[str], None]


def ignore(message: str) -> None:
    """An ``emit`` for callers that show no progress."""


def cache_root() -> Path:
    """`TUNESMITH_HOME`, or `~/.cache/tunesmith`; it need not exist yet."""
    home = os.environ.get("TUNESMITH_HOME")
    return Path(home).expanduser().absolute() if home else Path.home() / ".cache" / "tunesmith"


def models_root() -> Path:
    """The folder of the cache that holds one folder per base."""
    return cache_root() / "models"


def publish(folder: Path, *, fill: Callable[[Path], None], emit: Emit = ignore) -> Path:
    """``folder``, made by ``fill(temporary sibling)`` unless it is there already.

    Only a complete folder ever has this name: it is written beside, flushed to disk and renamed.
    One process fills, others wait for it. What a killed process left is removed by the next one.
    Raises ModelError when the cache cannot be written.
    """
    if folder.is_dir():
        return folder
    with _writable(folder.parent), _alone(folder, emit=emit):
        if folder.is_dir():
            return folder
        prefix = f".partial-{folder.name}-"
        # Whoever made these held the lock that is ours now, so it is gone.
        for leftover in folder.parent.glob(f"{prefix}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        partial = folder.parent / f"{prefix}{os.getpid()}"
        try:
            partial.mkdir()
            fill(partial)
            _share(partial)
            _flush(partial)
            partial.rename(folder)
            _flush_entry(folder.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def write_text_atomically(path: Path, text: str) -> None:
    """``path`` with this text, or as it was: never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextlib.contextmanager
def _writable(parent: Path) -> Iterator[None]:
    """Turn what the file system refuses into a ModelError that says where and what to do."""
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


@contextlib.contextmanager
def _alone(folder: Path, *, emit: Emit) -> Iterator[None]:
    """Hold this entry's lock; the system drops it when its holder dies."""
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        emit(f"Another process is preparing {folder.name}; waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _share(folder: Path) -> None:
    """Let those read the files who may read the folder: some writers make them private."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)


def _flush(folder: Path) -> None:
    """Push every file and folder below to the disk, so that the rename cannot overtake them."""
    for path in (*folder.rglob("*"), folder):
        _flush_entry(path)


def _flush_entry(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder
        return
    handle = os.open(path, os.O_RDWR if path.is_file() and os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
