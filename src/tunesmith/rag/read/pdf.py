"""PDF: the text of each page, and the outline as headings."""

import re

from tunesmith.errors import RagError
from tunesmith.rag.document import Document, Heading
from tunesmith.rag.extra import library
from tunesmith.rag.read.limits import require_text_size


def read_pdf(data: bytes) -> Document:
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
    return Document("\n\n".join(pages), "pdf", headings, starts)


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
