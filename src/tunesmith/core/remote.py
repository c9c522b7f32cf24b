"""Object storage (s3://bucket/rows.jsonl) by fsspec: what is read is copied into the cache."""

import contextlib
import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tunesmith.core import files, locks
from tunesmith.core.errors import StorageError, TunesmithError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://")
_SHOWN_REASON = 200
_REMEDY = (
    "Check the URL, the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) "
    "and, for storage that is not Amazon's, AWS_ENDPOINT_URL."
)


def is_remote(name: str | Path) -> bool:
    """Whether a name is a URL, and not a path of this machine."""
    return _URL.match(str(name)) is not None


def open_storage(url: str) -> "tuple[AbstractFileSystem, str]":
    """The file system of a URL, and the path in it.

    Raises StorageError where its package is not installed, or the URL's scheme is unknown.
    """
    import fsspec

    scheme = url.partition("://")[0]
    try:
        system, path = fsspec.url_to_fs(url)
    except ImportError as error:
        missing = getattr(error.__cause__, "name", None) or scheme
        install = "'tunesmith[s3]'" if missing == "s3fs" else str(missing)
        raise StorageError(
            f"{url}: needs the package {missing}, which is not installed.",
            remedy=f"Install it with: pip install {install}",
            code="not_installed",
        ) from None
    except ValueError:
        raise StorageError(
            f"{url}: no storage is known by {scheme}://.",
            remedy="Name a path of this machine, or s3://BUCKET/NAME.",
        ) from None
    system.invalidate_cache()  # others write there too
    return system, str(path).rstrip("/")


@contextlib.contextmanager
def reported(url: str, what: str) -> "Iterator[None]":
    """Turn whatever a network and the libraries for it come to into a StorageError."""
    try:
        yield
    except TunesmithError:
        raise
    except FileNotFoundError:
        raise StorageError(f"{url}: does not exist.", remedy=_REMEDY, code="missing_file") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:_SHOWN_REASON].rstrip(".") or type(error).__name__
        raise StorageError(f"{url}: cannot be {what}: {reason}.", remedy=_REMEDY) from error


def sizes_below(system: "AbstractFileSystem", path: str) -> dict[str, int]:
    """The files below a folder, by their names in it, with their bytes."""
    found = system.find(path, detail=True)
    return {name.removeprefix(f"{path}/"): int(info["size"]) for name, info in found.items()}


def require_inside(url: str, names: Iterable[str]) -> None:
    """Raise StorageError where a name would be written outside the folder it is copied into."""
    for name in names:
        if ".." in PurePosixPath(name).parts:
            raise StorageError(
                f"{url}: has the name {name}, which leads out of its folder.",
                remedy="Rename the object.",
            )


def copied(url: str) -> Path:
    """The file or folder at a URL as it is now, in the cache, which keeps one copy of a version.

    Raises StorageError where it cannot be read.
    """
    system, path = open_storage(url)
    with reported(url, "read"):
        is_file = system.isfile(path)
        found = {path: system.info(path)} if is_file else system.find(path, detail=True)
    if not found:
        raise StorageError(f"{url}: does not exist.", remedy=_REMEDY, code="missing_file")
    require_inside(url, found)
    versions = json.dumps({name: str(info) for name, info in found.items()}, sort_keys=True)
    parent = files.cache_root() / "objects" / _digest(url)
    folder = parent / _digest(versions)
    name = PurePosixPath(path).name

    def fill(into: Path) -> None:
        with reported(url, "read"):
            for each in found:
                target = into / name / each.removeprefix(path).lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                system.get_file(each, str(target))

    parent.mkdir(parents=True, exist_ok=True)
    with locks.held(parent / ".lock", taken=lambda: None):
        if not folder.is_dir():
            files.replace_folder(folder, fill)
            _remove_old_versions(parent, folder)
    return folder / name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _remove_old_versions(parent: Path, folder: Path) -> None:
    """Remove copies of a day ago; a process may still read a younger one."""
    for other in parent.iterdir():
        is_old = time.time() - other.stat().st_mtime > files.LEFT_SECONDS
        if is_old and other.is_dir() and other != folder:
            shutil.rmtree(other, ignore_errors=True)
