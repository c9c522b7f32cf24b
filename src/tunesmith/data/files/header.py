"""From rows of cells to rows with columns: what the first one names, and whether the rest fits."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tunesmith.counts import many
from tunesmith.data.faults import Problem, Remark
from tunesmith.data.files.record import Record

Cells = Sequence[str]
FEWEST_NAMED = 0.5
SHOWN_CELLS, SHOWN_CHARACTERS = 3, 40


@dataclass(frozen=True, slots=True)
class _Columns:
    """The names of the columns, and the line of the row that they were read from, if any."""

    names: Sequence[str]
    header: int | None


def named_rows(
    rows: Iterable[tuple[int, Cells | Problem]], *, header: bool = True
) -> Iterator[Record]:
    """A record for each row of cells below the first, which is the header; blank ones are blank.

    Without a ``header`` the first is a row too, and columns are called by their place.
    """
    columns: _Columns | None = None
    found = False
    blank: list[Record] = []
    for line, cells in rows:
        if isinstance(cells, Problem):
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
                yield Record(0, remarks=(_counted(cells),))
            yield from blank
            blank, found = [], True
            yield _row(line, columns, cells)
    if not found:
        named = f"a header ({', '.join(columns.names)}) and no rows" if columns else "no rows"
        what = f"holds {named}."
        yield Record(0, None, Problem("empty_file", what, "Name a file with rows."))


def _are_places(cells: Cells) -> bool:
    """Whether the first row counts the columns, as pandas writes it where they have no names."""
    given = [cell.strip() for cell in cells if cell.strip()]
    return given == [str(place) for place in range(len(given))]


def _counted(cells: Cells) -> Remark:
    shown = ", ".join(_short(" ".join(cell.split())) for cell in cells[:SHOWN_CELLS])
    more = ", ..." if len(cells) > SHOWN_CELLS else ""
    return Remark("no_header", f"columns are counted, so the first row is a row ({shown}{more})")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _names(cells: Cells) -> tuple[list[str], Problem | None]:
    """A name for each column; those without one are called by their place."""
    given = [" ".join(cell.split()) for cell in cells]
    named = [name for name in given if name]
    twice = [name for name, count in Counter(named).items() if count > 1]
    names = [name or f"column {place}" for place, name in enumerate(given, start=1)]
    remedy = "The first row must name the columns: write one, or remove what stands above it. If "
    remedy += "it is a row, count the columns from 0: --data.map prompt=0 --data.map completion=1."
    if twice:
        what = f"the header names {', '.join(f'`{name}`' for name in twice[:5])} more than once."
        return names, Problem("no_header", what, remedy)
    if len(named) < FEWEST_NAMED * len(given):
        without = f"{len(given) - len(named)} of {many(len(given), 'column')}"
        what = f"this is no header: {without} without a name."
        return names, Problem("no_header", what, remedy)
    return names, None


def _row(line: int, columns: _Columns, cells: Cells) -> Record:
    names, first = columns.names, "header" if columns.header else "first"
    if len(cells) != len(names):
        return Record(
            line,
            None,
            Problem(
                "ragged_row",
                f"the row has {len(cells)} cells, and the {first} {len(names)}.",
                "Put texts that hold the delimiter in double quotes, or add what is missing.",
            ),
        )
    empty = (
        name == f"column {place}" and not cell
        for place, (name, cell) in enumerate(zip(names, cells, strict=True), 1)
    )
    values = {n: c for n, c, is_empty in zip(names, cells, empty, strict=True) if not is_empty}
    return Record(line, dict(values), header=columns.header)
