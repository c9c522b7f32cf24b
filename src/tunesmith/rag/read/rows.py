"""CSV and TSV: each row a passage that names its columns."""

import csv
import io
import sys

from tunesmith.errors import RagError
from tunesmith.rag.document import Document, Heading
from tunesmith.rag.read.plain import decode

DELIMITERS = ",;\t|"
SNIFFED_CHARACTERS = 64 * 1024


def read_csv(data: bytes) -> Document:
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
    return Document("\n\n".join(pieces), "rows", headings, rows=spans)
