"""Which files of a folder are documents, and what each holds (by its hash)?"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunesmith.errors import RagError
from tunesmith.rag.one_file import Order, Refused
from tunesmith.rag.read.table import Kind, kind_of

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """A file that can be read: its name below the folder, and the hash of its bytes."""

    source: str
    order: Order


@dataclass(frozen=True, slots=True)
class Listing:
    """Files in order of their names, those refused before they are read, and endings left out."""

    files: list[File]
    refused: dict[str, Refused]
    left_out: Counter[str]


def list_files(folder: Path, *, but: Path | None = None) -> Listing:
    """Every document below ``folder``; hidden files, links and what is below ``but`` are not.

    Raises RagError where there is no such folder.
    """
    if not folder.is_dir():
        raise RagError(
            f"{folder} is no folder.", remedy="Name a folder with documents.", code="no_folder"
        )
    listing = Listing([], {}, Counter())
    for path in sorted(_walk(folder, but.absolute() if but else None)):
        kind = kind_of(path.name)
        source = path.relative_to(folder).as_posix()
        if kind is None:
            listing.left_out[path.suffix.lower() or path.name] += 1
            continue
        found = _examined(path, kind)
        if isinstance(found, Refused):
            listing.refused[source] = found
        else:
            listing.files.append(File(source, found))
    return listing


def _walk(folder: Path, but: Path | None) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        here = Path(where)
        folders[:] = [f for f in folders if f[0] != "." and (here / f).absolute() != but]
        for name in names:
            if name[0] != "." and not (here / name).is_symlink() and (here / name).is_file():
                yield here / name


def _examined(path: Path, kind: Kind) -> Order | Refused:
    try:
        size = path.stat().st_size
        if size == 0:
            return Refused("is empty (0 bytes).", "Leave it out, or fill it.", "empty")
        if size > kind.most_bytes:
            return Refused(
                f"has {size / 2**20:,.0f} MB; a file of kind {kind.name} may have "
                f"{kind.most_bytes >> 20:,} MB.",
                "Split it into files.",
                "too_large",
            )
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        return Refused(f"cannot be read: {error.strerror}.", "Mend its rights.", "file_system")
    return Order(path, digest.hexdigest())
