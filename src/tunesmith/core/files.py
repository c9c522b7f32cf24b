"""Files and folders that are complete or absent, whatever kills the process."""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tunesmith.core.errors import AdapterError, RunError

TEMPORARY = ".tmp-"
OLD = f"{TEMPORARY}old-"
# What to do where the disk refuses a run; other writers have their own remedies.
FIX_AND_RESUME = "Free space or fix the folder's permissions, then try again (a run: --resume)."
RAISE_LIMIT = "Raise it (`ulimit -f unlimited`), then try again (a run: --resume)."
FREE_AND_RESUME = "Free space or set another folder (out), then resume the run."
# A text is written in an instant: what is older than this was left by a process that is dead.
LEFT_SECONDS = 24 * 3600
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def cache_root() -> Path:
    """`TUNESMITH_HOME`, or `~/.cache/tunesmith`; it need not exist yet."""
    home = os.environ.get("TUNESMITH_HOME")
    return Path(home).expanduser().absolute() if home else Path.home() / ".cache" / "tunesmith"


def write_text(path: Path, text: str) -> None:
    """Replace a run's file at once; raises RunError where the disk refuses."""
    with _reported(path):
        replace_text(path, text)


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Replace a run's JSON file at once; raises RunError where the disk refuses."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def publish(folder: Path, fill: Callable[[Path], None], *, remedy: str = FIX_AND_RESUME) -> None:
    """Replace a run's folder at once; raises RunError where the disk refuses."""
    with _reported(folder, remedy):
        replace_folder(folder, fill)


def require_replaceable(folder: Path) -> None:
    """Raise RunError for the working folder: another one cannot take its place."""
    if folder.resolve() == Path.cwd():
        raise RunError(
            f"{folder} is the working folder, and would be replaced by a new one.",
            remedy="Name a folder inside it.",
            code="working_folder",
        )


def require_new(folder: Path) -> None:
    """Raise AdapterError for a folder that is there already and holds something.

    RunError for the working folder.
    """
    require_replaceable(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise AdapterError(
            f"{folder} exists already, and is not replaced.",
            remedy="Name another folder, or remove it.",
            code="exists",
        )


def publish_file(path: Path, fill: Callable[[Path], None], *, remedy: str = FIX_AND_RESUME) -> None:
    """``path`` as ``fill(temporary sibling)`` makes it, or as it was: synced, then renamed.

    For files too large for a text in memory; one process at a time may do so. Raises RunError where
    the disk refuses.
    """
    with _reported(path, remedy):
        _replace(path, path.with_name(f"{TEMPORARY}{path.name}"), fill)


def replace_text(path: Path, text: str) -> None:
    """``path`` with this text, or as it was: temporary file beside it, fsync, rename.

    Several processes may do so at once, and the last one stays. Texts that killed processes left
    half written beside it go. Raises OSError.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{secrets.token_hex(4)}")
    _replace(path, temporary, lambda file: file.write_text(text, encoding="utf-8"))
    _remove_old_texts(path.parent)


def _replace(path: Path, temporary: Path, fill: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fill(temporary)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_old_texts(parent: Path) -> None:
    """Remove what ``replace_text`` left there long ago; another process may be faster."""
    for left in parent.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError):
            if left.is_file() and time.time() - left.stat().st_mtime > LEFT_SECONDS:
                left.unlink()


def temporary_of(folder: Path) -> Path:
    """Where ``replace_folder`` fills a folder."""
    return folder.with_name(f"{TEMPORARY}{folder.name}")


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """``folder`` as ``fill(temporary sibling)`` makes it, or as it was: filled, synced, renamed.

    Its files can be read by those who may read the folder. What a killed process left of it is
    removed first, so one process at a time may do so. Raises OSError, and what ``fill`` raises.
    """
    temporary = temporary_of(folder)
    old = folder.with_name(f"{OLD}{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        _share(temporary)
        for path in [*temporary.rglob("*"), temporary]:
            sync(path)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
        temporary.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        elif old.exists():
            old.rename(folder)


def sync(path: Path) -> None:
    """Force a file or folder to the disk."""
    windows = os.name == "nt"
    if windows and path.is_dir():  # cannot be opened there
        return
    handle = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, read now."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep(parent: Path) -> None:
    """Remove what an interrupted write left; a folder that lost its successor comes back.

    Only for whoever alone may write there: what a living process is writing would go as well.
    """
    for left in parent.glob(f"{OLD}*"):
        target = parent / left.name.removeprefix(OLD)
        if not target.exists():
            left.rename(target)
    for left in parent.glob(f"{TEMPORARY}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def require_space(
    path: Path,
    needed: int,
    *,
    what: str = "a checkpoint",
    remedy: str = FREE_AND_RESUME,
) -> None:
    """Raise RunError before anything is lost where ``path``'s disk lacks ``needed`` bytes."""
    free = shutil.disk_usage(path).free
    if free < needed:
        raise RunError(
            f"{path}: the disk has {free / 1e6:,.0f} MB free, and {what} takes "
            f"{needed / 1e6:,.0f} MB.",
            remedy=remedy,
            code="disk",
        )


def require_file_size(path: Path, largest: int, *, what: str) -> None:
    """Raise RunError where this shell's limit (`ulimit -f`) refuses files of so many bytes."""
    try:
        import resource
    except ImportError:  # a system without such limits
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY and largest > limit:
        raise RunError(
            f"{path}: {what} is a file of {largest / 1e6:,.1f} MB, and this shell allows files of "
            f"{limit / 1e6:,.1f} MB (ulimit -f).",
            remedy=RAISE_LIMIT,
            code="disk",
        )


@contextlib.contextmanager
def _reported(path: Path, remedy: str = FIX_AND_RESUME) -> Iterator[None]:
    """Turn what the file system refuses into a RunError that says where and what to do."""
    try:
        yield
    except Exception as error:
        refused = refusal_of(error)
        if refused is None:
            raise
        what = f"{path}: cannot be written: {reason_of(refused)}."
        raise RunError(what, remedy=remedy_of(refused, remedy), code="disk") from error


def refusal_of(error: BaseException) -> OSError | None:
    """What the file system refused, where that is the error; None for any other.

    Libraries that are not written in Python report it by its number, in errors of their own.
    """
    if isinstance(error, OSError):
        return error
    found = _OS_ERROR.search(str(error))
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def reason_of(refused: OSError) -> str:
    """Why, in words of the system; a limit of the shell is named."""
    reason = refused.strerror or str(refused)
    if refused.errno == errno.EFBIG:
        return f"{reason}: a limit of this shell (see `ulimit -f`)"
    return reason


def remedy_of(refused: OSError, other: str = "") -> str:
    """The way out of a limit of the shell, or of another refusal."""
    return RAISE_LIMIT if refused.errno == errno.EFBIG else other


def _share(folder: Path) -> None:
    """Let those read the files who may read the folder: some writers make them private."""
    mode = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(mode)
