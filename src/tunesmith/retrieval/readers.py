"""The text of a file by its kind: text, code, tables, Markdown, HTML, DOCX and PDF."""

import csv
import io
import itertools
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from tunesmith.core.errors import RagError
from tunesmith.retrieval.decode import decode
from tunesmith.retrieval.document import (
    MAX_FILE_BYTES,
    Heading,
    SourceDocument,
    library,
    require_text_size,
)

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag


# One line is enough to say where a passage lies; a parser for each language would not find more.
DEFINITION = re.compile(
    r"^([ \t]*)(?:(?:export|default|public|private|protected|static|final|abstract|async|pub"
    r"(?:\([a-z]+\))?|unsafe|inline|virtual|override|data|sealed|open)\s+)*"
    r"(?:class|def|func|fn|function|interface|struct|enum|trait|impl|module|namespace|fun|type)\s+"
    r"(?:\([^)\n]*\)\s*)?([A-Za-z_$][\w$]*(?:(?:\.|::)[\w$]+)*)",
    re.M,
)


def read_text(data: bytes) -> SourceDocument:
    """Raises RagError where the bytes are no text."""
    return SourceDocument(decode(data), "text")


def read_code(data: bytes) -> SourceDocument:
    """The same, with classes and functions as headings, nested by their indentation."""
    text = decode(data)
    found = [
        Heading(match.start(), len(match[1].expandtabs(4)) + 1, match[2])
        for match in DEFINITION.finditer(text)
    ]
    return SourceDocument(text, "code", found)


DELIMITERS = ",;\t|"
SNIFFED_CHARACTERS = 64 * 1024


def read_csv(data: bytes) -> SourceDocument:
    """`name: value` lines for each row, empty fields left out; the first row names the columns."""
    text = decode(data)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        delimiter = csv.Sniffer().sniff(text[:SNIFFED_CHARACTERS], DELIMITERS).delimiter
    except csv.Error:  # one column, or too little to tell
        delimiter = ","
    try:  # by the usual quotes, which a part of the table may not show
        lines = csv.reader(io.StringIO(text), delimiter=delimiter)
        names, *rows = [row for row in lines if any(row)]
    except (csv.Error, ValueError) as error:
        what = f"is not a table that can be read ({error})."
        remedy = "Save it as CSV with a first row of names."
        raise RagError(what, remedy=remedy, code="damaged") from None
    pieces, spans, headings, at = [], [], [], 0
    for number, row in enumerate(rows, start=1):
        named = zip([*names, *[""] * (len(row) - len(names))], row, strict=False)
        piece = "\n".join(f"{name}: {value}" if name else value for name, value in named if value)
        pieces.append(piece)
        spans.append((at, at + len(piece)))
        headings.append(Heading(at, 1, f"row {number:,}"))
        at += len(piece) + 2
    return SourceDocument("\n\n".join(pieces), "rows", headings, rows=spans)


# Comments, what no reader is shown, and elements that say they are hidden.
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s"'>]+)"""
_ATTRIBUTE = rf"\s+[\w:@.-]+(?:\s*=\s*{_VALUE})?"
_STYLES = (
    r"(?:display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?:\.0*)?(?![.\d])"
    r"|font-size\s*:\s*0(?![.\d]))"
)
_HIDES = (
    rf"\s+(?:hidden(?![\w-])(?:\s*=\s*{_VALUE})?"
    rf"""|style\s*=\s*(?:"[^"]*?{_STYLES}[^"]*"|'[^']*?{_STYLES}[^']*'))"""
)
HIDDEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|<(script|style|template)\b.*?(?:</\1\s*>|\Z)"
    r"|<(?!(?:img|br|hr|input|meta|link|source|wbr|col)\b)(\w+)"  # these hold nothing
    rf"(?:{_ATTRIBUTE})*?{_HIDES}(?:{_ATTRIBUTE})*\s*>.*?(?:</\2\s*>|\Z)",
    re.S | re.I,
)


def read_markdown(data: bytes) -> SourceDocument:
    """Raises RagError where the bytes are no text."""
    return markdown_document(decode(data), "markdown")


def markdown_document(text: str, kind: str, *, hides: bool = True) -> SourceDocument:
    """Offsets stay those of ``text``: what HTML in it hides, where it may, becomes spaces."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    starts = line_starts(text)
    headings, with_html = [], []
    for token, following in itertools.pairwise([*tokens, *tokens[-1:]]):
        if token.map is None:
            continue
        first, last = token.map
        if token.type == "heading_open":
            headings.append(Heading(starts[first], int(token.tag[1]), following.content.strip()))
        children = token.children or ()
        if token.type == "html_block" or any(c.type == "html_inline" for c in children):
            with_html.append((starts[first], starts[min(last, len(starts) - 1)]))
    shown = _without(text, list(_hidden(text, with_html))) if hides else text
    headings = [each for each in headings if shown[each.start : each.start + 1].strip()]
    return SourceDocument(shown, kind, headings)


def line_starts(text: str) -> list[int]:
    """Where each line begins, and the end of the text; lines end as in CommonMark."""
    ends = (match.end() for match in re.finditer(r"\r\n|\n|\r", text))
    return [0, *ends, len(text)]


def _hidden(text: str, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans that begin in one of these places; what is hidden may end far after it."""
    for start, stop in places:
        at = start
        while (found := HIDDEN.search(text, at)) and found.start() < stop:
            is_code = text.count("`", start, found.start()) % 2 == 1
            if not is_code:
                yield found.span()
            at = found.start() + 1 if is_code else found.end()


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    for start, stop in spans:
        text = text[:start] + re.sub(r"[^\r\n]", " ", text[start:stop]) + text[stop:]
    return text


NEVER_SHOWN = ["script", "style", "template", "noscript", "iframe", "object", "svg", "head"]
INVISIBLE = re.compile(
    r"display:none|visibility:(?:hidden|collapse)|opacity:0(?:\.0*)?(?![.\d])"
    r"|font-size:0(?![.\d])|(?:text-indent|(?<![\w-])(?:left|top)):-\d{3,}"
    r"|(?:clip|clip-path):(?:rect\(0|inset\(100%|inset\(50%)"
)
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
SIMPLE_SELECTOR = re.compile(r"[\w-]*(?:[.#][\w-]+)*")


def read_html(data: bytes) -> SourceDocument:
    """The page as Markdown, without what is hidden; raises RagError where it is no text."""
    return html_document(decode(data), "html")


def html_document(page: str, kind: str) -> SourceDocument:
    """Hidden is what is never shown, and what an attribute or a simple rule of a style hides."""
    bs4, markdownify = library("bs4"), library("markdownify")
    soup: BeautifulSoup = bs4.BeautifulSoup(page, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    selectors = ", ".join(_hidden_selectors(soup))
    comments = soup.find_all(string=lambda each: isinstance(each, bs4.element.PreformattedString))
    hidden = soup.select(selectors) if selectors else []
    for element in [*comments, *soup.find_all(NEVER_SHOWN), *soup.find_all(_is_hidden), *hidden]:
        element.extract()
    text = markdownify.MarkdownConverter(
        heading_style="atx", strip=["a", "img"], bullets="-"
    ).convert_soup(soup)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    if title and not soup.find("h1"):
        text = f"# {title}\n\n{text}"
    return markdown_document(text, kind, hides=False)  # a tag that is left is text of the page


def _is_hidden(tag: "Tag") -> bool:
    style = re.sub(r"\s", "", str(tag.get("style", ""))).lower()
    is_hidden_input = tag.name == "input" and tag.get("type") == "hidden"
    return tag.has_attr("hidden") or is_hidden_input or bool(INVISIBLE.search(style))


def _hidden_selectors(soup: "BeautifulSoup") -> list[str]:
    """Selectors by name, class and id of rules that hide; `@media` blocks are read like others."""
    css = "\n".join(style.get_text() for style in soup.find_all("style"))
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.S)
    found = []
    for names, body in RULE.findall(css):
        if INVISIBLE.search(re.sub(r"\s", "", body).lower()):
            each = (name.strip() for name in names.split(","))
            found += [name for name in each if name and SIMPLE_SELECTOR.fullmatch(name)]
    return found


W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
HIDING = (f"{W}rPr/{W}vanish", f"{W}rPr/{W}webHidden")
OLD_OR_ENCRYPTED = b"\xd0\xcf\x11\xe0"  # an OLE container
WORDS = "word/document.xml"
UNREADABLE = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, SyntaxError)  # the last: XML's


def read_docx(data: bytes) -> SourceDocument:
    """Raises RagError for one that is encrypted, damaged, or unfolds into too much."""
    mammoth = library("mammoth")
    if data.startswith(OLD_OR_ENCRYPTED):
        what = "is encrypted, or in the format of Word before 2007."
        raise RagError(what, remedy="Save a copy as .docx without a password.", code="encrypted")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _require_size(archive)
        images = mammoth.images.img_element(lambda _: {"src": ""})
        shown = io.BytesIO(_without_hidden(data))
        page = mammoth.convert_to_html(shown, convert_image=images).value
    except UNREADABLE as error:
        what = f"is no DOCX that can be opened ({error})."
        remedy = "Open it in a word processor and save it anew, or leave it out."
        raise RagError(what, remedy=remedy, code="damaged") from None
    return html_document(page, "docx")


def _require_size(archive: zipfile.ZipFile) -> None:
    expanded = sum(item.file_size for item in archive.infolist())
    if WORDS not in archive.namelist():
        raise KeyError(f"no {WORDS} in it")
    if expanded > MAX_FILE_BYTES:
        what = f"unfolds into {expanded / 2**20:,.0f} MB; {MAX_FILE_BYTES >> 20} MB are allowed."
        raise RagError(what, remedy="Save a copy with smaller pictures.", code="too_large")


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
        what = f"holds no text on its {len(pages):,} pages: they are pictures."
        remedy = "Make the text readable first (OCR), and save the PDF anew."
        raise RagError(what, remedy=remedy, code="no_text")
    starts = [*itertools.accumulate((len(text) + 2 for text in pages[:-1]), initial=0)]
    headings = [
        Heading(starts[at] + _line_of(title, pages[at]), entry.level + 1, title)
        for entry in pdf.get_toc()
        if (title := entry.get_title().strip())
        and (destination := entry.get_dest()) is not None
        and (at := destination.get_index()) is not None
        and at < len(starts)
    ]
    headings.sort(key=lambda heading: heading.start)
    return SourceDocument("\n\n".join(pages), "pdf", headings, starts)


def _line_of(title: str, page: str) -> int:
    """Where the line with a title begins on its page, its number aside; else where that does."""
    words = r"\s+".join(map(re.escape, title.split()))
    found = re.search(rf"^[ \t]*(?:[\dA-Z][\d.]*\s+)?{words}", page, re.M | re.I)
    return found.start() if found else 0


def _plain(text: str) -> str:
    """Lines end in a newline, words divided at a line's end are whole."""
    text = re.sub(r"\r\n?", "\n", text)
    return re.sub("[\ufffe\u0002]\n?", "", text).replace("\0", "")


def _unopened(why: str) -> RagError:
    if "assword" in why or "ecurity" in why:
        what = "is encrypted, and does not open without its password."
        return RagError(what, remedy="Save a copy without a password.", code="encrypted")
    remedy = "Open it in a viewer and save it anew, or leave it out."
    return RagError(f"is no PDF that can be opened ({why.strip()}).", remedy=remedy, code="damaged")
