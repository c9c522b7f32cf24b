"""Whether the first row of a table names its columns, or is a row itself."""

from collections.abc import Mapping, Sequence

from tunesmith.data.faults import Problem, Remark
from tunesmith.data.files.json_object import is_of_a_list
from tunesmith.data.formats.layout import Row
from tunesmith.data.formats.table import FORMATS, flag, shown

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
