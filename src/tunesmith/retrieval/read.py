"""Which files can be read, by which reader; one file read and cut, or why not?"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from tunesmith.core.errors import RagError
from tunesmith.retrieval.chunk import Chunk, Cutter
from tunesmith.retrieval.document import (
    MAX_FILE_BYTES,
    MAX_TEXT_BYTES,
    SourceDocument,
    require_text_size,
)
from tunesmith.retrieval.read_markup import read_html, read_markdown
from tunesmith.retrieval.read_office import read_docx, read_pdf
from tunesmith.retrieval.read_text import read_code, read_csv, read_text


@dataclass(frozen=True, slots=True)
class FileKind:
    """Files with these endings, how they are read, and the most bytes that one may have."""

    name: str
    suffixes: frozenset[str]
    read: Callable[[bytes], SourceDocument]
    max_bytes: int = MAX_TEXT_BYTES


def _kind(
    name: str,
    suffixes: str,
    read: Callable[[bytes], SourceDocument],
    max_bytes: int = MAX_TEXT_BYTES,
) -> FileKind:
    return FileKind(name, frozenset(f".{each}" for each in suffixes.split()), read, max_bytes)


CODE = (
    "py pyi js jsx ts tsx java kt kts go rs c h cc cpp cxx hpp cs rb php swift scala sh bash sql r "
    "lua pl json jsonl yaml yml toml ini cfg xml css proto"
)
KINDS = (
    _kind("text", "txt text log rst tex adoc org", read_text),
    _kind("markdown", "md markdown mdx", read_markdown),
    _kind("html", "html htm xhtml", read_html),
    _kind("pdf", "pdf", read_pdf, MAX_FILE_BYTES),
    _kind("docx", "docx", read_docx, MAX_FILE_BYTES),
    _kind("rows", "csv tsv", read_csv),
    _kind("code", CODE, read_code),
)
BY_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}


def kind_of(name: str) -> FileKind | None:
    """The kind of a file of this name; None where such files are not read."""
    return BY_SUFFIX.get(PurePath(name).suffix.lower())


def read_document(name: str, data: bytes) -> SourceDocument:
    """What a file of this name and content says.

    Raises RagError, whose message goes on behind the file's name, where it cannot be read.
    """
    kind = kind_of(name)
    assert kind is not None, name
    document = kind.read(data)
    if not document.text.strip():
        raise RagError(
            "holds no text.", remedy="Leave it out, or look why it is empty.", code="no_text"
        )
    require_text_size(len(document.text), what="unfolds into")
    return document


MAX_MEMORY_BYTES = 3 * 2**30  # of addresses, libraries included


@dataclass(frozen=True, slots=True)
class FileOrder:
    """A file with the content that it had when it was listed."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file was not read: ``message`` goes on behind its name."""

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
        return Refused(f"cannot be read: {error.strerror}.", "Mend its rights.", "file_system")
    except MemoryError:
        limit = f"{MAX_MEMORY_BYTES >> 30} GB of memory"
        return Refused(f"takes more than {limit} to read.", "Split it.", "too_large")
    except Exception as error:  # a library's, about a file that nobody foresaw
        what = f"{type(error).__name__}: {error}"[:200]
        return Refused(f"cannot be read ({what}).", "Save it anew, or leave it out.", "damaged")
