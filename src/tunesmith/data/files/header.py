"""From rows of cells to rows with columns: what the first one names, and whether the rest fits."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from tunesmith.counts import many
from tunesmith.data.faults import Problem
from tunesmith.data.files.record import Record

Cells = Sequence[str]
FEWEST_NAMED = 0.5


def named_rows(rows: Iterable[tuple[int, Cells | Problem]]) -> Iterator[Record]:
    """A record for each row of cells below the first, which is the header; blank ones are blank."""
    names: list[str] | None = None
    found = False
    blank: list[Record] = []
    for line, cells in rows:
        if isinstance(cells, Problem):
            yield Record(line, None, cells)
            found = True
        elif not any(cell.strip() for cell in cells):
            blank += [Record(line)] if found else []
        elif names is None:
            names, problem = _names(cells)
            if problem:
                yield Record(line, None, problem)
                return
        else:
            yield from blank
            blank, found = [], True
            yield _row(line, names, cells)
    if not found:
        what = f"holds a header ({', '.join(names)}) and no rows." if names else "holds no rows."
        yield Record(0, None, Problem("empty_file", what, "Name a file with rows."))


def _names(cells: Cells) -> tuple[list[str], Problem | None]:
    """A name for each column; those without one are called by their place."""
    given = [" ".join(cell.split()) for cell in cells]
    named = [name for name in given if name]
    twice = [name for name, count in Counter(named).items() if count > 1]
    names = [name or f"column {place}" for place, name in enumerate(given, start=1)]
    remedy = "The first row must name the columns: write one, or remove what stands above it."
    if twice:
        what = f"the header names {', '.join(f'`{name}`' for name in twice[:5])} more than once."
        return names, Problem("no_header", what, remedy)
    if len(named) < FEWEST_NAMED * len(given):
        without = f"{len(given) - len(named)} of {many(len(given), 'column')}"
        what = f"this is no header: {without} without a name."
        return names, Problem("no_header", what, remedy)
    return names, None


def _row(line: int, names: Sequence[str], cells: Cells) -> Record:
    if len(cells) != len(names):
        return Record(
            line,
            None,
            Problem(
                "ragged_row",
                f"the row has {len(cells)} cells, and the header {len(names)}.",
                "Put texts that hold the delimiter in double quotes, or add what is missing.",
            ),
        )
    empty = (
        name == f"column {place}" and not cell
        for place, (name, cell) in enumerate(zip(names, cells, strict=True), 1)
    )
    values = {n: c for n, c, is_empty in zip(names, cells, empty, strict=True) if not is_empty}
    return Record(line, dict(values))
