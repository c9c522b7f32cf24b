"""Which files of a folder are documents, and which could not be read until they change?"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

from tunesmith.core.errors import RagError
from tunesmith.core.files import sha256_of
from tunesmith.retrieval.document import library
from tunesmith.retrieval.read import FileKind, FileOrder, Refused, kind_of


@dataclass(frozen=True, slots=True)
class File:
    """A file that can be read: its name below the folder, and the hash of its bytes."""

    source: str
    order: FileOrder


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


def _examined(path: Path, kind: FileKind) -> FileOrder | Refused:
    try:
        size = path.stat().st_size
        if size == 0:
            return Refused("is empty (0 bytes).", "Leave it out, or fill it.", "empty")
        if size > kind.max_bytes:
            return Refused(
                f"has {size / 2**20:,.0f} MB; a file of kind {kind.name} may have "
                f"{kind.max_bytes >> 20:,} MB.",
                "Split it into files.",
                "too_large",
            )
        return FileOrder(path, sha256_of(path))
    except OSError as error:
        return Refused(f"cannot be read: {error.strerror}.", "Mend its rights.", "file_system")


TABLE = "refused"
PASSING = {"changed", "file_system"}  # the next time it may be otherwise


def known_refusals(uri: str) -> dict[str, Refused]:
    """What was refused, by the document's id."""
    connection = library("lancedb").connect(uri)
    if TABLE not in connection.list_tables().tables:
        return {}
    rows = connection.open_table(TABLE).search().limit(None).to_list()
    return {r["document"]: Refused(r["message"], r["remedy"], r["code"]) for r in rows}


def keep_refusals(uri: str, refused: Mapping[str, Refused]) -> None:
    """Put these in the place of what was known; reasons that pass are not kept."""
    import pyarrow as pa

    kept = {key: each for key, each in refused.items() if each.code not in PASSING}
    if kept == known_refusals(uri):
        return
    columns = ("document", "message", "remedy", "code")
    rows = [dict(zip(columns, (key, *astuple(each)), strict=True)) for key, each in kept.items()]
    schema = pa.schema([(column, pa.string()) for column in columns])
    connection = library("lancedb").connect(uri)
    is_there = TABLE in connection.list_tables().tables
    table = pa.Table.from_pylist(rows, schema=schema)
    connection.create_table(TABLE, table, mode="overwrite" if is_there else "create")
