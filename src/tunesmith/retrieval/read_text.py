"""Plain text in any encoding, source code with its definitions, CSV and TSV by rows."""

import csv
import io
import re
import sys

from tunesmith.core.errors import RagError
from tunesmith.retrieval.document import Heading, SourceDocument

BOMS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
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


def decode(data: bytes) -> str:
    """The text of these bytes: by its mark, as UTF-8, or as what it looks like most.

    Raises RagError where the bytes are no text.
    """
    for mark, encoding in BOMS.items():
        if data.startswith(mark):
            return _strictly(data, encoding)
    if b"\0" in data:
        raise _not_text("it holds zero bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        best = from_bytes(data).best()
        if best is None:
            raise _not_text("its encoding cannot be told") from None
        return str(best)


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _not_text(f"byte {error.start:,} is no {encoding}") from None


def _not_text(why: str) -> RagError:
    return RagError(
        f"is no text: {why}.", remedy="Save it as UTF-8, or leave it out.", code="not_text"
    )


DELIMITERS = ",;\t|"
SNIFFED_CHARACTERS = 64 * 1024


def read_csv(data: bytes) -> SourceDocument:
    """`name: value` lines for each row, empty fields left out; the first row names the columns."""
    text = decode(data)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        dialect = csv.Sniffer().sniff(text[:SNIFFED_CHARACTERS], DELIMITERS)
    except csv.Error:  # one column, or too little to tell
        dialect = csv.excel
    try:
        names, *rows = [row for row in csv.reader(io.StringIO(text), dialect) if any(row)]
    except (csv.Error, ValueError) as error:
        raise RagError(
            f"is no table that can be read ({error}).",
            remedy="Save it as CSV with a first row of names.",
            code="damaged",
        ) from None
    pieces, spans, headings, at = [], [], [], 0
    for number, row in enumerate(rows, start=1):
        named = zip([*names, *[""] * (len(row) - len(names))], row, strict=False)
        piece = "\n".join(f"{name}: {value}" if name else value for name, value in named if value)
        pieces.append(piece)
        spans.append((at, at + len(piece)))
        headings.append(Heading(at, 1, f"row {number:,}"))
        at += len(piece) + 2
    return SourceDocument("\n\n".join(pieces), "rows", headings, rows=spans)
