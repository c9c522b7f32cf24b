"""A sheet's rows as JSON lines on standard output: run as a process of its own, by path.

The library that reads workbooks ends the whole process where a damaged or hostile file makes it ask
for too much memory; here that costs nobody else anything. It imports nothing of this package, so
that it starts at once.
"""

import contextlib
import datetime
import json
import sys
from pathlib import Path

MOST_BYTES = 6 << 30  # of addresses: a sheet is held whole
MOST_SECONDS = 600


def main(path: str, part: str | None) -> None:
    """Print `{"sheets": [...]}` where one must be chosen, else `{"sheet": NAME}` and its rows."""
    from python_calamine import CalamineWorkbook

    # By its content: a path would be believed its suffix.
    with Path(path).open("rb") as file, CalamineWorkbook.from_filelike(file) as workbook:
        names = workbook.sheet_names
        if len(names) > 1 and part is None:  # sheets that Excel made and nobody used do not count
            names = [n for n in names if workbook.get_sheet_by_name(n).end is not None] or names
        chosen = part if part in names else None if len(names) != 1 else names[0]
        if chosen is None:
            _say({"sheets": names})
            return
        _say({"sheet": chosen})
        for number, cells in enumerate(workbook.get_sheet_by_name(chosen).iter_rows(), start=1):
            _say([number, *map(_text, cells)])


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


def _text(value: object) -> str:
    """A cell as the workbook's own program would show it."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat(*([" "] if isinstance(value, datetime.datetime) else []))
    return str(value)


if __name__ == "__main__":
    with contextlib.suppress(ImportError):  # there is no such limit everywhere
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
