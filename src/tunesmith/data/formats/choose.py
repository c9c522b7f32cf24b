"""Which format the rows of a source have, under the columns that a user mapped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.data.faults import Problem, Remark
from tunesmith.data.formats.header import (
    counted_header,
    looks_like_row,
    no_header,
    taken_as_header,
)
from tunesmith.data.formats.layout import Format, Row
from tunesmith.data.formats.mapping import (
    absent,
    familiarity,
    renamed,
    resolved,
    same_names,
    unknown_names,
)
from tunesmith.data.formats.table import FORMATS, ambiguous, flag, recognise, shown, why
from tunesmith.data.formats.text import PLAIN_TEXT


@dataclass(frozen=True, slots=True)
class Choice:
    """A format with the map under its own names and what was seen of it, or why there is none."""

    format: Format | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    problems: tuple[Problem, ...] = ()
    remarks: tuple[Remark, ...] = ()


def choose_format(
    rows: Sequence[Row], name: str, columns: Mapping[str, str], *, is_named: bool = False
) -> Choice:
    """The format that was asked for by ``name``, or with `auto` the one that most rows have.

    ``is_named``: the names of the columns are the first row of a table.
    """
    if name != "auto" and name not in FORMATS:
        what, known = f"the format `{name}` is not known.", ", ".join(FORMATS)
        return _none(Problem("unknown_format", what, f"Known: auto, {known}."))
    asked = list(FORMATS.values()) if name == "auto" else [FORMATS[name]]
    found = list(dict.fromkeys(column for row in rows for column in row))
    if problems := unknown_names(columns, asked, found):
        return _none(*problems)
    if not rows:
        return _none()
    if problem := counted_header(rows[0], columns) if columns and not is_named else None:
        return _none(problem)
    format, problem = (asked[0], None) if len(asked) == 1 else _recognised(rows, columns)
    if is_named and not columns and not (format and any(map(format.fits, rows))):
        is_unknown = problem is None or problem.code == "unknown_format"
        if is_unknown and (reason := looks_like_row(rows)):
            return _none(no_header(rows, reason))
    if problems := absent(columns, found, asked if format is None else [format]):
        return _none(*problems)
    if format is None:
        return _none(*([problem] if problem else []))
    own = resolved(columns, format)
    if own is None:
        wrong = (*unknown_names(columns, [format], found), *same_names(columns, format))
        return _none(*wrong)
    remark = taken_as_header(rows, own) if is_named and own else None
    seen = why(format, [renamed(row, own) for row in rows], own)
    return Choice(format, own, seen, remarks=(remark,) if remark else ())


def _none(*problems: Problem) -> Choice:
    return Choice(problems=problems)


def _recognised(
    rows: Sequence[Row], columns: Mapping[str, str]
) -> tuple[Format | None, Problem | None]:
    """The format of the rows as they are called now, else the one in which the names fit best."""
    format, problem = recognise([renamed(row, columns) for row in rows])
    if not columns or (format and resolved(columns, format) is not None):
        return format, problem
    fitting = {}
    for each in FORMATS.values():
        own = resolved(columns, each)
        if own is not None and sum(each.fits(renamed(row, own)) for row in rows) * 2 > len(rows):
            fitting[each.name] = familiarity(columns, each)
    if len(fitting) > 1:
        fitting.pop(PLAIN_TEXT.name, None)
    best = [name for name, value in fitting.items() if value == max(fitting.values())]
    if len(best) > 1:
        return None, ambiguous(best)
    if best:
        return FORMATS[best[0]], None
    is_unknown = problem is not None and problem.code == "unknown_format"
    return format, _unknown(rows, columns) if is_unknown else problem


def _unknown(rows: Sequence[Row], columns: Mapping[str, str]) -> Problem:
    """That mapped rows have no format, in the names that they have in their file."""
    format, problem = recognise(rows)
    flags = " ".join(flag(ours, theirs) for ours, theirs in columns.items())
    found = shown(dict.fromkeys(column for row in rows for column in row))
    remedy = problem.remedy if problem else ""
    return Problem(
        "unknown_format",
        f"the rows have no known format with {flags} (found: {found}).",
        f"Without that the rows are {format.name}." if format else remedy,
    )
