"""Tables in text: CSV and its kin, a row at a time with the line where it begins."""

import csv
from collections.abc import Iterator
from itertools import islice

from tunesmith.counts import many
from tunesmith.data.faults import Problem
from tunesmith.data.files.delimiter import SAMPLE_ROWS, Dialect, choose_dialect
from tunesmith.data.files.header import Cells, named_rows
from tunesmith.data.files.record import MOST_ROW_BYTES, ReadOptions, Record, unused
from tunesmith.data.files.source import HEAD_BYTES, Source
from tunesmith.data.files.text import TOO_LARGE, Text, open_text

# After so many rows that a quote has swallowed the file is not what it seems to be.
MOST_UNCLOSED = 100
QUOTE = Problem(
    "open_quote",
    "a quote that opens in this row is not closed where the cell ends.",
    "Close it; a quote inside a quoted cell is written twice.",
)
GIVEN_UP = Problem(
    "open_quote",
    f"after {many(MOST_UNCLOSED, 'row')} with an open quote the rest of the file is not read.",
    "Mend the quotes, or write the rows as JSON lines.",
)


def read_delimited(source: Source, options: ReadOptions) -> Iterator[Record]:
    """The rows of a table in text; raises Broken."""
    text = open_text(source, options)
    dialect = choose_dialect(_sample(text), suffix=source.suffix, asked=options.delimiter)
    remarks = [*text.remarks, *([dialect.remark] if dialect.remark else [])]
    yield Record(0, remarks=(*remarks, *unused(options, "part")))
    yield from named_rows(_rows(text, dialect), header=options.header)


def _strings(text: Text) -> Iterator[tuple[int, str | Problem]]:
    for number, raw in text.lines():
        yield number, raw if isinstance(raw, Problem) else text.decoded(raw)


def _sample(text: Text) -> list[str]:
    """The first lines that are text, as many as it takes to see how a table is written."""
    lines: list[str] = []
    size = 0
    for _, line in islice(_strings(text), SAMPLE_ROWS):
        if isinstance(line, str):
            lines.append(line)
            size += len(line)
        if size > HEAD_BYTES:
            break
    return lines


class _Feed:
    """Lines for a CSV parser, which can be given again from the second line of a row on."""

    def __init__(self, text: Text, skipped_lines: int) -> None:
        self._lines = islice(_strings(text), skipped_lines, None)
        self._given: list[tuple[int, str | Problem]] = []
        self._again: list[tuple[int, str | Problem]] = []
        self._size = 0
        self.too_large = False

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines)
        self._given.append(line)
        text = line[1] if isinstance(line[1], str) else "\n"
        self._size += len(text)
        if self._size > MOST_ROW_BYTES:
            self.too_large = True
            raise csv.Error
        return text

    def row(self) -> tuple[int, Problem | None]:
        """Where the row began whose lines were given, and what is wrong with them; forget them."""
        found = ((number, line) for number, line in self._given if isinstance(line, Problem))
        line, problem = next(found, (self._given[0][0], None))
        self._given, self._size = [], 0
        return line, problem

    def give_again(self) -> int:
        """Go back to the second line of the row; its first line's number."""
        (start, _), *rest = self._given
        self._again += reversed(rest)
        self._given, self._size, self.too_large = [], 0, False
        return start


def _rows(text: Text, dialect: Dialect) -> Iterator[tuple[int, Cells | Problem]]:
    """Rows of cells with the line where each begins; what cannot be read costs its first line."""
    csv.field_size_limit(MOST_ROW_BYTES)
    feed = _Feed(text, dialect.skipped_lines)
    for _ in range(MOST_UNCLOSED):
        reader = csv.reader(
            feed, delimiter=dialect.delimiter, skipinitialspace=dialect.spaced, strict=True
        )
        try:
            for cells in reader:
                line, problem = feed.row()
                yield line, problem or [cell.replace("\r\n", "\n") for cell in cells]
            return
        except csv.Error as error:
            problem = TOO_LARGE if feed.too_large else _problem(str(error))
            yield feed.give_again(), problem
    yield 0, GIVEN_UP


def _problem(error: str) -> Problem:
    if "new-line" in error:
        what = "a carriage return stands outside quotes."
        return Problem("stray_line_end", what, "Put the cell in double quotes, or remove it.")
    return QUOTE
