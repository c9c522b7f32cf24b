"""Which files can be read, and by what: one row for each kind."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from tunesmith.errors import RagError
from tunesmith.rag.document import Document
from tunesmith.rag.read.docx import read_docx
from tunesmith.rag.read.html import read_html
from tunesmith.rag.read.limits import MOST_FILE_BYTES, MOST_TEXT_BYTES, require_text_size
from tunesmith.rag.read.markdown import read_markdown
from tunesmith.rag.read.pdf import read_pdf
from tunesmith.rag.read.plain import read_code, read_text
from tunesmith.rag.read.rows import read_csv


@dataclass(frozen=True, slots=True)
class Kind:
    """Files with these endings, how they are read, and the most bytes that one may have."""

    name: str
    suffixes: frozenset[str]
    read: Callable[[bytes], Document]
    most_bytes: int = MOST_TEXT_BYTES


def _kind(
    name: str, suffixes: str, read: Callable[[bytes], Document], most_bytes: int = MOST_TEXT_BYTES
) -> Kind:
    return Kind(name, frozenset(f".{each}" for each in suffixes.split()), read, most_bytes)


CODE = (
    "py pyi js jsx ts tsx java kt kts go rs c h cc cpp cxx hpp cs rb php swift scala sh bash sql r "
    "lua pl json jsonl yaml yml toml ini cfg xml css proto"
)
KINDS = (
    _kind("text", "txt text log rst tex adoc org", read_text),
    _kind("markdown", "md markdown mdx", read_markdown),
    _kind("html", "html htm xhtml", read_html),
    _kind("pdf", "pdf", read_pdf, MOST_FILE_BYTES),
    _kind("docx", "docx", read_docx, MOST_FILE_BYTES),
    _kind("rows", "csv tsv", read_csv),
    _kind("code", CODE, read_code),
)
BY_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes}


def kind_of(name: str) -> Kind | None:
    """The kind of a file of this name; None where such files are not read."""
    return BY_SUFFIX.get(PurePath(name).suffix.lower())


def read_document(name: str, data: bytes) -> Document:
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
