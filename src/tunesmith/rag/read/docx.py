"""DOCX: the document as HTML, and from there as every page."""

import io
import zipfile
import zlib
from xml.etree import ElementTree

from tunesmith.errors import RagError
from tunesmith.rag.document import Document
from tunesmith.rag.extra import library
from tunesmith.rag.read.html import html_document
from tunesmith.rag.read.limits import MOST_FILE_BYTES

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
HIDING = (f"{W}rPr/{W}vanish", f"{W}rPr/{W}webHidden")
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
        shown = io.BytesIO(_without_hidden(data))
        page = mammoth.convert_to_html(shown, convert_image=images).value
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        ValueError,
        SyntaxError,
    ) as error:  # XML's is SyntaxError
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


def _without_hidden(data: bytes) -> bytes:
    """The same document without the runs of text that Word hides."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as kept:
        for item in archive.infolist():
            part = archive.read(item)
            if item.filename.endswith(".xml") and (b"vanish" in part or b"webHidden" in part):
                part = _shown(part)
            kept.writestr(item.filename, part)
    return out.getvalue()


def _shown(part: bytes) -> bytes:
    tree = ElementTree.fromstring(part)
    for parent in list(tree.iter()):
        for run in [child for child in parent if child.tag == f"{W}r"]:
            marks = [mark for path in HIDING if (mark := run.find(path)) is not None]
            if any(mark.get(f"{W}val") not in ("0", "false", "off") for mark in marks):
                parent.remove(run)
    return ElementTree.tostring(tree)
