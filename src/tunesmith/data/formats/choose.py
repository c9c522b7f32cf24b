"""Which format the rows of a source have, and whether its first row names the columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.data.faults import Problem, Remark
from tunesmith.data.formats.columns import PLAIN_TEXT
from tunesmith.data.formats.layout import Format, Row
from tunesmith.data.formats.table import (
    FORMATS,
    absent,
    ambiguous,
    familiarity,
    flag,
    recognise,
    renamed,
    resolved,
    same_names,
    shown,
    unknown_names,
    why,
)
from tunesmith.data.rows import is_of_a_list

# What is longer, or has more words, is said of something and names nothing.
LONGEST_NAME, MOST_WORDS = 60, 8
SENTENCE_ENDS = tuple(".?!。？！")
SHOWN_CHARACTERS = 40
KNOWN = {
    name.casefold()
    for format in FORMATS.values()
    for name in (*format.columns, *format.optional, *format.synonyms)
}
KNOWN |= {name for f in FORMATS.values() for names in f.columns.values() for name in names}
NO_HEADER = "no_header"
COUNT = "--data.map prompt=0 --data.map completion=1"


def is_known(name: object) -> bool:
    """Whether a cell is what some format calls a column."""
    return isinstance(name, str) and " ".join(name.split()).casefold() in KNOWN


def looks_like_row(rows: Sequence[Row]) -> str | None:
    """Why the names of a table's columns are probably a row; None where they are probably none.

    A name that is a value of its own column says most; of the look of a name alone little can be
    said, for forms are saved with whole questions as names.
    """
    names = [name for name in rows[0] if not name.startswith("column ")] if rows else []
    if not names or any(map(is_known, names)):
        return None
    return is_value(names, rows) or next(filter(None, map(_looks_said, names)), None)


def is_value(names: Sequence[str], rows: Sequence[Row]) -> str | None:
    """That one of the names is a value in its column; not of a header that stands there again."""
    others = [row for row in rows if any(row.get(name) != name for name in row)]
    count = {name: sum(row.get(name) == name for row in others) for name in names}
    most = max(names, key=lambda name: count[name])
    return f"`{_short(most)}` is a value in its column too" if count[most] else None


def _looks_said(name: str) -> str | None:
    if name.replace(".", "", 1).lstrip("-").isdecimal():
        return f"`{name}` is a number"
    is_long = len(name) > LONGEST_NAME or len(name.split()) > MOST_WORDS
    if is_long or name.endswith(SENTENCE_ENDS):
        return f"`{_short(name)}` looks like a sentence"
    return None


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def no_header(rows: Sequence[Row], why: str) -> Problem:
    """The question to ask where the first row of a table is probably a row."""
    cells = shown(map(_short, rows[0]))
    return Problem(
        NO_HEADER,
        f"the first row of a table names its columns, and this one looks like a row: {why} "
        f"(found: {cells}).",
        f"If it is a row, say which column is what, counted from 0: {COUNT}. If it names them, "
        "map those names.",
    )


def taken_as_header(rows: Sequence[Row], columns: Mapping[str, str]) -> Remark | None:
    """What is said where mapped names are probably a row; ``columns`` are mapped by name."""
    names = [name for name in columns.values() if name in rows[0] and not is_known(name)]
    why = is_value(names, rows) if names else None
    if why is None:
        return None
    places = {name: str(place) for place, name in enumerate(rows[0])}
    flags = " ".join(flag(o, places[t]) for o, t in columns.items() if t in places)
    what = f"the first row was taken as the names of the columns, and {why}; if it is a row, count "
    return Remark("header", f"{what}the columns: {flags}")


def counted_header(row: Row, columns: Mapping[str, str]) -> Problem | None:
    """Why the first row is no row where columns are counted; None where it may be one."""
    if not is_of_a_list(row):
        return None
    names = [row.get(place) for place in columns.values()]
    # One letter (q, a) names a column in some files, and is an answer in others.
    if not all(is_known(name) and len(str(name)) > 1 for name in names):
        return None
    flags = " ".join(flag(ours, str(row[place])) for ours, place in columns.items())
    return Problem(
        "header",
        f"this row names the columns ({shown(map(str, names))}), and --data.map counts them, so "
        "that it would be trained as a row.",
        f"Of a table map the names: {flags}. Else remove the row.",
    )


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
