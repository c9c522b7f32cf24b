"""Files and folders that are complete or absent, whatever kills the process."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tunesmith.errors import RunError

TEMPORARY = ".tmp-"


def write_text(path: Path, text: str) -> None:
    """Replace a file at once: temporary file beside it, fsync, rename."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise _disk(path, error) from error


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Replace a JSON file at once."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def publish(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make ``folder`` by filling a temporary one, syncing it and renaming it; an older one goes.

    Raises RunError where the disk refuses; what stood there before is then still there.
    """
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        for path in [*temporary.rglob("*"), temporary]:
            sync(path)
        if folder.exists():
            old = folder.with_name(f"{TEMPORARY}old-{folder.name}")
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
            temporary.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.rename(folder)
        sync(folder.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _disk(folder, error) from error


def sync(path: Path) -> None:
    """Force a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(parent: Path) -> None:
    """Remove what an interrupted write left; a folder that lost its successor comes back."""
    for left in parent.glob(f"{TEMPORARY}old-*"):
        target = parent / left.name.removeprefix(f"{TEMPORARY}old-")
        if not target.exists():
            left.rename(target)
    for left in parent.glob(f"{TEMPORARY}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def require_space(path: Path, needed: int) -> None:
    """Raise RunError before anything is lost where ``path``'s disk has less than ``needed``."""
    free = shutil.disk_usage(path).free
    if free < needed:
        raise RunError(
            f"{path}: the disk has {free / 1e6:,.0f} MB free, and a checkpoint takes "
            f"{needed / 1e6:,.0f} MB.",
            remedy="Free space or set another --out, then go on with --resume.",
            code="disk",
        )


def _disk(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path}: cannot be written: {error.strerror or error}.",
        remedy="Free space or mend the folder's rights, then go on with --resume.",
        code="disk",
    )
