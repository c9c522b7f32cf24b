"""Which files of a folder are documents, and each of them read and cut in a separate process."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import NoReturn

from tunesmith.core.errors import RagError
from tunesmith.core.files import sha256_of
from tunesmith.core.workers import Lost, Pool
from tunesmith.retrieval.document import (
    MAX_FILE_BYTES,
    MAX_TEXT_BYTES,
    Chunk,
    ChunkConfig,
    Cutter,
    SourceDocument,
    require_text_size,
)
from tunesmith.retrieval.readers import (
    read_code,
    read_csv,
    read_docx,
    read_html,
    read_markdown,
    read_pdf,
    read_text,
)


@dataclass(frozen=True, slots=True)
class FileKind:
    """How files with these suffixes are read, and the most bytes that one may have."""

    name: str
    suffixes: str
    read: Callable[[bytes], SourceDocument]
    max_bytes: int = MAX_TEXT_BYTES


CODE = (
    "py pyi js jsx ts tsx java kt kts go rs c h cc cpp cxx hpp cs rb php swift scala sh bash sql r "
    "lua pl json jsonl yaml yml toml ini cfg xml css proto"
)
KINDS = (
    FileKind("text", "txt text log rst tex adoc org", read_text),
    FileKind("markdown", "md markdown mdx", read_markdown),
    FileKind("html", "html htm xhtml", read_html),
    FileKind("pdf", "pdf", read_pdf, MAX_FILE_BYTES),
    FileKind("docx", "docx", read_docx, MAX_FILE_BYTES),
    FileKind("rows", "csv tsv", read_csv),
    FileKind("code", CODE, read_code),
)
BY_SUFFIX = {f".{suffix}": kind for kind in KINDS for suffix in kind.suffixes.split()}


def kind_of(name: str) -> FileKind | None:
    """The kind of a file of this name; None where such files are not read."""
    return BY_SUFFIX.get(PurePath(name).suffix.lower())


def read_document(name: str, data: bytes) -> SourceDocument:
    """What a file of this name and content says.

    Raises RagError, whose message follows the file's name, where it cannot be read.
    """
    kind = kind_of(name)
    assert kind is not None, name
    document = kind.read(data)
    if not document.text.strip():
        remedy = "Leave it out, or look why it is empty."
        raise RagError("holds no text.", remedy=remedy, code="no_text")
    require_text_size(len(document.text), what="unfolds into")
    return document


MAX_MEMORY_BYTES = 3 * 2**30  # of addresses, libraries included


@dataclass(frozen=True, slots=True)
class FileOrder:
    """A file to read: the hash of its bytes when it was listed, its name below the folder."""

    path: Path
    sha256: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file was not read: ``message`` follows its name."""

    message: str
    remedy: str
    code: str


def work(order: FileOrder, cutter: Cutter) -> tuple[str, list[Chunk]] | Refused:
    """Kind and passages of a file, or why there are none."""
    try:
        data = order.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != order.sha256:
            raise RagError("changed while it was read.", remedy="Index again.", code="changed")
        document = read_document(order.path.name, data)
        return document.kind, cutter.cut(document)
    except RagError as error:
        return Refused(error.message, error.remedy, error.code)
    except OSError as error:
        return Refused(f"cannot be read: {error.strerror}.", "Fix its permissions.", "file_system")
    except MemoryError:
        limit = f"{MAX_MEMORY_BYTES >> 30} GB of memory"
        return Refused(f"takes more than {limit} to read.", "Split it.", "too_large")
    except Exception as error:  # a library's, about a file that nobody foresaw
        what = f"{type(error).__name__}: {error}"[:200]
        return Refused(f"cannot be read ({what}).", "Save it anew, or leave it out.", "damaged")


@dataclass(frozen=True, slots=True)
class Listing:
    """Files in order of their names, those refused before they are read, and skipped suffixes."""

    files: list[FileOrder]
    refused: dict[str, Refused]
    left_out: Counter[str]


def list_files(folder: Path, *, but: Path | None = None) -> Listing:
    """Every document below ``folder``; hidden files, links and what is below ``but`` are not.

    Raises RagError where there is no such folder.
    """
    if not folder.is_dir():
        what, remedy = f"{folder} is not a folder.", "Name a folder with documents."
        raise RagError(what, remedy=remedy, code="no_folder")
    listing = Listing([], {}, Counter())
    for path in sorted(_walk(folder, but.absolute() if but else None)):
        kind = kind_of(path.name)
        source = path.relative_to(folder).as_posix()
        if kind is None:
            listing.left_out[path.suffix.lower() or path.name] += 1
            continue
        found = _examined(path, kind, source)
        if isinstance(found, Refused):
            listing.refused[source] = found
        else:
            listing.files.append(found)
    return listing


def _walk(folder: Path, but: Path | None) -> Iterator[Path]:
    for where, folders, names in os.walk(folder, onerror=_unreadable):
        here = Path(where)
        folders[:] = [f for f in folders if f[0] != "." and (here / f).absolute() != but]
        for name in names:
            if name[0] != "." and not (here / name).is_symlink() and (here / name).is_file():
                yield here / name


def _unreadable(error: OSError) -> NoReturn:
    raise RagError(
        f"{error.filename} cannot be read: {error.strerror}. What is indexed of it would be lost.",
        remedy="Fix its permissions, or move it away.",
        code="file_system",
    )


def _examined(path: Path, kind: FileKind, source: str) -> FileOrder | Refused:
    try:
        size = path.stat().st_size
        if size == 0:
            return Refused("is empty (0 bytes).", "Leave it out, or fill it.", "empty")
        if size > kind.max_bytes:
            most = f"a file of kind {kind.name} may have {kind.max_bytes >> 20:,} MB."
            what = f"has {size / 2**20:,.0f} MB; {most}"
            return Refused(what, "Split it into files.", "too_large")
        return FileOrder(path, sha256_of(path), source)
    except OSError as error:
        return Refused(f"cannot be read: {error.strerror}.", "Fix its permissions.", "file_system")


MAX_SECONDS = 120.0  # for one file
MAX_PROCESSES = 4

Answer = tuple[str, list[Chunk]] | Refused


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read: by how many processes, each for how long at most.

    With ``again`` those that could not be read before are tried once more.
    """

    processes: int = 1
    max_seconds: float = MAX_SECONDS
    retry_failed: bool = False


def read_files(
    orders: Sequence[FileOrder], model: Path, chunk_config: ChunkConfig, reading: Reading
) -> Generator[Answer]:
    """Each file's answer in order; raises RagError where files cannot be cut at all.

    What a file may do to the process that reads it, it does to no other: one that takes too long
    or too much memory is refused.
    """

    def refused(lost: Lost) -> Answer:
        if lost.timed_out:
            why = f"took longer than {reading.max_seconds:.0f} s to read."
            return Refused(why, "Split it, or leave it out.", "too_slow")
        why = "ended the process that read it; it may be damaged, or unfold into too much."
        return Refused(why, "Save it anew, or leave it out.", "damaged")

    pool = Pool[FileOrder, Answer](
        f"{__name__}:reader",
        (model, chunk_config),
        processes=max(1, min(reading.processes, MAX_PROCESSES, len(orders))),
        lost=refused,
        seconds=reading.max_seconds,
        memory_bytes=MAX_MEMORY_BYTES,
    )
    with pool:
        yield from pool.map(orders)


def reader(model: Path, chunk_config: ChunkConfig) -> Callable[[FileOrder], Answer]:
    """What a process does with each file."""
    return partial(work, cutter=Cutter(model, chunk_config))
