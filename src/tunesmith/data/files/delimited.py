"""Tables in text (CSV and similar): the delimiter, the header, and rows with their lines."""

import contextlib
import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from tunesmith.core.encodings import HEAD_BYTES
from tunesmith.core.numbers import percent, pluralize
from tunesmith.core.phrases import listed, shorten
from tunesmith.data.faults import Fault, Note
from tunesmith.data.files.source import Broken, Source, unused
from tunesmith.data.files.text import TOO_LARGE, Text, open_text
from tunesmith.data.rows import MAX_ROW_BYTES, ReadOptions, Record

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
USUAL = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|", ".ssv": ";"}
SAMPLE_ROWS = 200


@dataclass(frozen=True, slots=True)
class TableDialect:
    """How a table is written; ``header_lines`` come before its header."""

    delimiter: str
    spaced: bool = False
    skipped_lines: int = 0
    note: Note | None = None


def choose_dialect(lines: Sequence[str], *, suffix: str, asked: str | None) -> TableDialect:
    """The dialect of a table that begins with ``lines``; raises Broken where it must be asked."""
    if asked is not None:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(asked, asked)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            what = f"the delimiter must be one character, not {asked!r}."
            raise Broken("unknown_delimiter", what, "For example --data.delimiter ';' or tab.")
        return TableDialect(delimiter, _is_spaced(lines, delimiter))
    first = lines[0].strip() if lines else ""
    if first.lower().startswith("sep=") and len(first) == 5:  # Excel writes it, and reads it
        return TableDialect(first[4], _is_spaced(lines, first[4]), skipped_lines=1)
    shares = {delimiter: _share(lines, delimiter) for delimiter in NAMES}
    best = max(shares.values())
    fit = [delimiter for delimiter, share in shares.items() if share == best]
    usual = USUAL.get(suffix, ",")
    if best == 0 or fit == [usual]:
        return TableDialect(usual, _is_spaced(lines, usual))
    if len(fit) > 1:
        names = " or ".join(NAMES[delimiter] for delimiter in fit)
        what = f"its columns could be divided by {names}."
        shown = " or ".join("tab" if d == "\t" else f"'{d}'" for d in fit)
        raise Broken("ambiguous_delimiter", what, f"Say which with --data.delimiter {shown}.")
    (delimiter,) = fit
    what = f"columns are divided by {NAMES[delimiter]}: {percent(best)} of the first rows have as "
    what += "many as the header (--data.delimiter names another)"
    return TableDialect(delimiter, _is_spaced(lines, delimiter), note=Note("delimiter", what))


def _share(lines: Sequence[str], delimiter: str) -> float:
    """The share of rows as wide as the header; 0 where that is one column wide."""
    rows = _sample_rows(lines, delimiter)
    if not rows or len(rows[0]) < 2:
        return 0.0
    return Counter(map(len, rows))[len(rows[0])] / len(rows)


def _sample_rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):  # the reader of the rows tells what is wrong
        rows += filter(None, csv.reader(lines, delimiter=delimiter))
    return rows


def _is_spaced(lines: Sequence[str], delimiter: str) -> bool:
    """Whether a space after a delimiter belongs to it: quotes tell, which cells begin with."""
    if delimiter == " ":
        return False
    return any(cell.startswith(' "') for row in _sample_rows(lines, delimiter) for cell in row[1:])


Cells = Sequence[str]
MIN_NAMED = 0.5
SHOWN_CELLS = 3


@dataclass(frozen=True, slots=True)
class _Columns:
    """The names of the columns, and the line of the row that they were read from, if any."""

    names: Sequence[str]
    header: int | None


def named_rows(
    rows: Iterable[tuple[int, Cells | Fault]], *, header: bool = True
) -> Iterator[Record]:
    """A record for each row of cells below the first, which is the header; blank ones are blank.

    Without a ``header`` the first is a row too, and columns are called by their place.
    """
    columns: _Columns | None = None
    found = False
    blank: list[Record] = []
    for line, cells in rows:
        if isinstance(cells, Fault):
            yield Record(line, None, cells)
            found = True
        elif not any(cell.strip() for cell in cells):
            blank += [Record(line)] if found else []
        elif columns is None and (header or _are_places(cells)):
            names, problem = _names(cells)
            if problem:
                yield Record(line, None, problem)
                return
            columns = _Columns(names, line)
        else:
            if columns is None:
                columns = _Columns([str(place) for place in range(len(cells))], None)
                yield Record(0, notes=(_counted(cells),))
            yield from blank
            blank, found = [], True
            yield _row(line, columns, cells)
    if not found:
        named = f"a header ({', '.join(columns.names)}) and no rows" if columns else "no rows"
        what = f"holds {named}."
        yield Record(0, None, Fault("empty_file", what, "Name a file with rows."))


def _are_places(cells: Cells) -> bool:
    """Whether the first row counts the columns, as pandas writes it where they have no names."""
    given = [cell.strip() for cell in cells if cell.strip()]
    return given == [str(place) for place in range(len(given))]


def _counted(cells: Cells) -> Note:
    shown = listed((shorten(" ".join(cell.split())) for cell in cells), SHOWN_CELLS)
    return Note("no_header", f"columns are counted, so the first row is a row ({shown})")


def _names(cells: Cells) -> tuple[list[str], Fault | None]:
    """A name for each column; those without one are called by their place."""
    given = [" ".join(cell.split()) for cell in cells]
    named = [name for name in given if name]
    twice = [name for name, count in Counter(named).items() if count > 1]
    names = [name or f"column {place}" for place, name in enumerate(given, start=1)]
    remedy = "The first row must name the columns: write one, or remove what is above it. If "
    remedy += "it is a row, count the columns from 0: --data.map prompt=0 --data.map completion=1."
    if twice:
        what = f"the header names {', '.join(f'`{name}`' for name in twice[:5])} more than once."
        return names, Fault("no_header", what, remedy)
    if len(named) < MIN_NAMED * len(given):
        without = f"{len(given) - len(named)} of {pluralize(len(given), 'column')}"
        what = f"this is not a header: {without} without a name."
        return names, Fault("no_header", what, remedy)
    return names, None


def _row(line: int, columns: _Columns, cells: Cells) -> Record:
    names, first = columns.names, "header" if columns.header else "first"
    if len(cells) != len(names):
        what = f"the row has {len(cells)} cells, and the {first} {len(names)}."
        remedy = "Put texts that hold the delimiter in double quotes, or add what is missing."
        return Record(line, None, Fault("ragged_row", what, remedy))
    values: dict[str, object] = {
        name: cell
        for place, (name, cell) in enumerate(zip(names, cells, strict=True), start=1)
        if cell or name != f"column {place}"
    }
    return Record(line, values, header=columns.header)


# After so many rows that a quote has swallowed the file is not what it seems to be.
MAX_UNCLOSED = 100
QUOTE = Fault(
    "open_quote",
    "a quote that opens in this row is not closed where the cell ends.",
    "Close it; a quote inside a quoted cell is written twice.",
)
GIVEN_UP = Fault(
    "open_quote",
    f"after {pluralize(MAX_UNCLOSED, 'row')} with an open quote the rest of the file is not read.",
    "Fix the quotes, or write the rows as JSON lines.",
)


def read_delimited(source: Source, options: ReadOptions) -> Iterator[Record]:
    """The rows of a table in text; raises Broken."""
    text = open_text(source, options)
    dialect = choose_dialect(_sample(text), suffix=source.suffix, asked=options.delimiter)
    notes = [*text.notes, *([dialect.note] if dialect.note else [])]
    yield Record(0, notes=(*notes, *unused(options, "part")))
    yield from named_rows(_rows(text, dialect), header=options.header)


def _strings(text: Text) -> Iterator[tuple[int, str | Fault]]:
    for number, raw in text.lines():
        yield number, raw if isinstance(raw, Fault) else text.decoded(raw)


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
        self._given: list[tuple[int, str | Fault]] = []
        self._again: list[tuple[int, str | Fault]] = []
        self._size = 0
        self.too_large = False

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines)
        self._given.append(line)
        text = line[1] if isinstance(line[1], str) else "\n"
        self._size += len(text)
        if self._size > MAX_ROW_BYTES:
            self.too_large = True
            raise csv.Error
        return text

    def row(self) -> tuple[int, Fault | None]:
        """Where the row began whose lines were given, and what is wrong with them; forget them."""
        found = ((number, line) for number, line in self._given if isinstance(line, Fault))
        line, problem = next(found, (self._given[0][0], None))
        self._given, self._size = [], 0
        return line, problem

    def give_again(self) -> int:
        """Go back to the second line of the row; its first line's number."""
        (start, _), *rest = self._given
        self._again += reversed(rest)
        self._given, self._size, self.too_large = [], 0, False
        return start


def _rows(text: Text, dialect: TableDialect) -> Iterator[tuple[int, Cells | Fault]]:
    """Rows of cells with the line where each begins; what cannot be read costs its first line."""
    csv.field_size_limit(MAX_ROW_BYTES)
    feed = _Feed(text, dialect.skipped_lines)
    for _ in range(MAX_UNCLOSED):
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


def _problem(error: str) -> Fault:
    if "new-line" in error:
        what = "a carriage return is outside quotes."
        return Fault("stray_line_end", what, "Put the cell in double quotes, or remove it.")
    return QUOTE
