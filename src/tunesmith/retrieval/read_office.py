"""DOCX and PDF: text, headings, outline and pages."""

import io
import re
import zipfile
import zlib
from xml.etree import ElementTree

from tunesmith.core.errors import RagError
from tunesmith.retrieval.document import (
    MAX_FILE_BYTES,
    Heading,
    SourceDocument,
    library,
    require_text_size,
)
from tunesmith.retrieval.read_markup import html_document

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
HIDING = (f"{W}rPr/{W}vanish", f"{W}rPr/{W}webHidden")
OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"  # an OLE container
WORDS = "word/document.xml"


def read_docx(data: bytes) -> SourceDocument:
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
    if expanded > MAX_FILE_BYTES:
        raise RagError(
            f"unfolds into {expanded / 2**20:,.0f} MB; {MAX_FILE_BYTES >> 20} MB are allowed.",
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


def read_pdf(data: bytes) -> SourceDocument:
    """Raises RagError for a PDF that is encrypted, damaged, or pictures only."""
    pdfium = library("pypdfium2")
    try:
        pdf = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        raise _unopened(str(error)) from None
    pages: list[str] = []
    held = 0
    for page in pdf:
        text = page.get_textpage().get_text_bounded()
        pages.append(_plain(text))
        held += len(pages[-1]) + 2
        require_text_size(held, what="unfolds into more than")
    if not "".join(pages).strip():
        raise RagError(
            f"holds no text on its {len(pages):,} pages: they are pictures.",
            remedy="Make the text readable first (OCR), and save the PDF anew.",
            code="no_text",
        )
    starts = [0]
    for text in pages[:-1]:
        starts.append(starts[-1] + len(text) + 2)
    headings = [
        Heading(starts[at], entry.level + 1, title)
        for entry in pdf.get_toc()
        if (title := entry.get_title().strip())
        and (destination := entry.get_dest()) is not None
        and (at := destination.get_index()) is not None
        and at < len(starts)
    ]
    headings.sort(key=lambda heading: heading.start)
    return SourceDocument("\n\n".join(pages), "pdf", headings, starts)


def _plain(text: str) -> str:
    """Lines end in a newline, words divided at a line's end are whole."""
    text = re.sub(r"\r\n?", "\n", text)
    return re.sub("[\ufffe\u0002]\n?", "", text).replace("\0", "")


def _unopened(why: str) -> RagError:
    if "assword" in why or "ecurity" in why:
        return RagError(
            "is encrypted, and does not open without its password.",
            remedy="Save a copy without a password.",
            code="encrypted",
        )
    return RagError(
        f"is no PDF that can be opened ({why.strip()}).",
        remedy="Open it in a viewer and save it anew, or leave it out.",
        code="damaged",
    )
