"""Which character stands between the columns of a table in text."""

import contextlib
import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.counts import percent
from tunesmith.data.faults import Remark
from tunesmith.data.files.source import Broken

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
USUAL = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|", ".ssv": ";"}
SAMPLE_ROWS = 200


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written; ``header_lines`` come before its header."""

    delimiter: str
    spaced: bool = False
    skipped_lines: int = 0
    remark: Remark | None = None


def choose_dialect(lines: Sequence[str], *, suffix: str, asked: str | None) -> Dialect:
    """The dialect of a table that begins with ``lines``; raises Broken where it must be asked."""
    if asked is not None:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(asked, asked)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            what = f"the delimiter must be one character, not {asked!r}."
            raise Broken("unknown_delimiter", what, "For example --data.delimiter ';' or tab.")
        return Dialect(delimiter, _is_spaced(lines, delimiter))
    first = lines[0].strip() if lines else ""
    if first.lower().startswith("sep=") and len(first) == 5:  # Excel writes it, and reads it
        return Dialect(first[4], _is_spaced(lines, first[4]), skipped_lines=1)
    shares = {delimiter: _share(lines, delimiter) for delimiter in NAMES}
    best = max(shares.values())
    fit = [delimiter for delimiter, share in shares.items() if share == best]
    usual = USUAL.get(suffix, ",")
    if best == 0 or fit == [usual]:
        return Dialect(usual, _is_spaced(lines, usual))
    if len(fit) > 1:
        names = " or ".join(NAMES[delimiter] for delimiter in fit)
        what = f"its columns could be divided by {names}."
        shown = " or ".join("tab" if d == "\t" else f"'{d}'" for d in fit)
        raise Broken("ambiguous_delimiter", what, f"Say which with --data.delimiter {shown}.")
    (delimiter,) = fit
    what = f"columns are divided by {NAMES[delimiter]}: {percent(best)} of the first rows have as "
    what += "many as the header (--data.delimiter names another)"
    return Dialect(delimiter, _is_spaced(lines, delimiter), remark=Remark("delimiter", what))


def _share(lines: Sequence[str], delimiter: str) -> float:
    """The share of rows as wide as the header; 0 where that is one column wide."""
    rows = _rows(lines, delimiter)
    if not rows or len(rows[0]) < 2:
        return 0.0
    return Counter(map(len, rows))[len(rows[0])] / len(rows)


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):  # the reader of the rows tells what is wrong
        rows += filter(None, csv.reader(lines, delimiter=delimiter))
    return rows


def _is_spaced(lines: Sequence[str], delimiter: str) -> bool:
    """Whether a space after a delimiter belongs to it: quotes tell, which cells begin with."""
    if delimiter == " ":
        return False
    return any(cell.startswith(' "') for row in _rows(lines, delimiter) for cell in row[1:])
