"""A sheet's rows, as a process of `core.workers` reads them.

The library that reads workbooks ends the whole process where a damaged or hostile file makes it ask
for too much memory; there that costs nobody else anything. It imports nothing of this package, so
that it starts at once.
"""

import datetime
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

ROWS_AT_ONCE = 256

SheetRow = tuple[int, list[str]]  # its number from 1, and its cells


def reader(path: str, part: str | None) -> Callable[[object], list[SheetRow]]:
    """What gives the next rows whenever it is called, none at the end.

    Where a sheet must be chosen it gives row 0 with their names. Raises OSError for what the
    library cannot read, and MemoryError.
    """
    rows = _rows(path, part)
    return lambda _: list(islice(rows, ROWS_AT_ONCE))


def _rows(path: str, part: str | None) -> Iterator[SheetRow]:
    from python_calamine import CalamineWorkbook

    try:
        # By its content: a path would be believed its suffix.
        with Path(path).open("rb") as file, CalamineWorkbook.from_filelike(file) as workbook:
            names = workbook.sheet_names
            if len(names) > 1 and part is None:  # what Excel made and nobody used does not count
                names = [n for n in names if workbook.get_sheet_by_name(n).end is not None] or names
            chosen = part if part in names else None if len(names) != 1 else names[0]
            if chosen is None:
                yield 0, names
                return
            sheet = workbook.get_sheet_by_name(chosen)
            for number, cells in enumerate(sheet.iter_rows(), start=1):
                yield number, [*map(_text, cells)]
    except MemoryError:
        raise
    except Exception as error:  # one of many, which who reads this need not know
        raise OSError(str(error)) from None


def _text(value: object) -> str:
    """A cell's value as text, without its number format."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat(*([" "] if isinstance(value, datetime.datetime) else []))
    return str(value)
