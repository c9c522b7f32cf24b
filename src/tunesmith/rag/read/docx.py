"""DOCX: the document as HTML, and from there as every page."""

import io
import zipfile

from tunesmith.errors import RagError
from tunesmith.rag.document import Document
from tunesmith.rag.extra import library
from tunesmith.rag.read.html import html_document
from tunesmith.rag.read.limits import MOST_FILE_BYTES

OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"  # an OLE container
WORDS = "word/document.xml"


def read_docx(data: bytes) -> Document:
    """Raises RagError for one that is encrypted, damaged, or unfolds into too much."""
    mammoth = library("mammoth")
    if data.startswith(OLD_OR_ENCRYPTED):
        raise RagError(
            "is encrypted, or in the format of Word before 2007.",
            remedy="Save a copy as .docx without a password.",
            code="encrypted",
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _require_size(archive)
        images = mammoth.images.img_element(lambda _: {"src": ""})
        page = mammoth.convert_to_html(io.BytesIO(data), convert_image=images).value
    except (zipfile.BadZipFile, KeyError, ValueError, SyntaxError) as error:  # XML's is SyntaxError
        raise RagError(
            f"is no DOCX that can be opened ({error}).",
            remedy="Open it in a word processor and save it anew, or leave it out.",
            code="damaged",
        ) from None
    return html_document(page, "docx")


def _require_size(archive: zipfile.ZipFile) -> None:
    expanded = sum(item.file_size for item in archive.infolist())
    if WORDS not in archive.namelist():
        raise KeyError(f"no {WORDS} in it")
    if expanded > MOST_FILE_BYTES:
        raise RagError(
            f"unfolds into {expanded / 2**20:,.0f} MB; {MOST_FILE_BYTES >> 20} MB are allowed.",
            remedy="Save a copy with smaller pictures.",
            code="too_large",
        )
