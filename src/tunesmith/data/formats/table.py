"""Every row format, and which of them the rows of a source have."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.core.numbers import pluralize
from tunesmith.core.phrases import listed, shorten
from tunesmith.data.faults import Problem, Remark
from tunesmith.data.formats.chats import CHAT, SHAREGPT
from tunesmith.data.formats.columns import (
    ALPACA,
    MULTIPLE_CHOICE,
    PLAIN_TEXT,
    PREFERENCE,
    PROMPT_COMPLETION,
    QUERY_RESPONSE,
    refusal,
)
from tunesmith.data.formats.layout import Format, Row
from tunesmith.data.formats.mapping import (
    absent,
    familiarity,
    flag,
    flags,
    probable,
    renamed,
    resolved,
    same_names,
    shown,
    unknown_names,
)
from tunesmith.data.rows import is_of_a_list

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (CHAT, PROMPT_COMPLETION, SHAREGPT, ALPACA, QUERY_RESPONSE, MULTIPLE_CHOICE)
}
FORMATS[PLAIN_TEXT.name] = PLAIN_TEXT
# Columns that tell of the text beside them what it is: then it may be a prompt.
ABOUT_A_TEXT = {"category", "class", "intent", "sentiment", "rating", "score", "stars", "summary"}
ABOUT_A_TEXT |= {"labels", "label_text", "translation"}
SHOWN_CELLS = 3
# What is longer, or has more words, is said of something and names nothing.
LONGEST_NAME, MAX_WORDS = 60, 8
SENTENCE_ENDS = tuple(".?!。？！")
KNOWN = {name for f in FORMATS.values() for names in f.columns.values() for name in names}
KNOWN |= {
    name.casefold()
    for format in FORMATS.values()
    for name in (*format.columns, *format.optional, *format.synonyms)
}
NO_HEADER = "no_header"
COUNT = "--data.map prompt=0 --data.map completion=1"


@dataclass(frozen=True, slots=True)
class FormatChoice:
    """A format with the map under its own names and what was seen of it, or why there is none."""

    format: Format | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    problems: tuple[Problem, ...] = ()
    remarks: tuple[Remark, ...] = ()


def choose_format(
    rows: Sequence[Row], name: str, columns: Mapping[str, str], *, is_named: bool = False
) -> FormatChoice:
    """The format that was asked for by ``name``, or with `auto` the one that most rows have.

    ``is_named``: the names of the columns are the first row of a table.
    """
    if name != "auto" and name not in FORMATS:
        what, known = f"the format `{name}` is not known.", ", ".join(FORMATS)
        return _none(Problem("unknown_format", what, f"Known: auto, {known}."))
    asked = list(FORMATS.values()) if name == "auto" else [FORMATS[name]]
    found = list(dict.fromkeys(column for row in rows for column in row))
    if columns and (problems := list(unknown_names(columns, asked, found))):
        return _none(*problems)
    if not rows:
        return _none()
    if problem := _counted_header(rows[0], columns) if columns and not is_named else None:
        return _none(problem)
    format, problem = (asked[0], None) if len(asked) == 1 else _recognized(rows, columns)
    if is_named and not columns and not (format and any(map(format.fits, rows))):
        is_unknown = problem is None or problem.code == "unknown_format"
        if is_unknown and (reason := _looks_like_row(rows)):
            return _none(_no_header(rows, reason))
    needing = asked if format is None else [format]
    if columns and (problems := list(absent(columns, found, needing))):
        return _none(*problems)
    if format is None:
        return _none(*([problem] if problem else []))
    own = resolved(columns, format) if columns else {}
    if own is None:
        return _none(*unknown_names(columns, [format], found), *same_names(columns, format))
    remark = _taken_as_header(rows, own) if is_named and own else None
    seen = why(format, [renamed(row, own) for row in rows] if own else rows, own)
    return FormatChoice(format, own, seen, remarks=(remark,) if remark else ())


def _none(*problems: Problem) -> FormatChoice:
    return FormatChoice(problems=problems)


def recognize(rows: Sequence[Row]) -> tuple[Format | None, Problem | None]:
    """The one format that most rows have, or why there is none."""
    refused = [row for row in rows if PREFERENCE.fits(row)]
    if len(refused) * 2 > len(rows):
        return None, refusal(PREFERENCE.named(refused[0]))
    others = [format for format in FORMATS.values() if format is not PLAIN_TEXT]
    counts = {format.name: sum(map(format.fits, rows)) for format in others}
    limit = max(counts.values())
    best = [name for name, count in counts.items() if count == limit]
    if limit:
        return (FORMATS[best[0]], None) if len(best) == 1 else (None, _ambiguous(best))
    names = list(dict.fromkeys(column for row in rows for column in row))
    if any(map(PLAIN_TEXT.fits, rows)):
        problem = _text_or_prompt(names)
        return (None, problem) if problem else (PLAIN_TEXT, None)
    if lists := [row for row in rows if is_of_a_list(row)]:
        return None, _unnamed(lists[0])
    known = "; ".join(f"{format.name} ({', '.join(format.columns)})" for format in FORMATS.values())
    what = f"the rows have no known format (found: {shown(names)}). Known: {known}."
    return None, Problem("unknown_format", what, _mapping_remedy(names))


def _recognized(
    rows: Sequence[Row], columns: Mapping[str, str]
) -> tuple[Format | None, Problem | None]:
    """The format of the rows as they are called now, else the one in which the names fit best."""
    if not columns:
        return recognize(rows)
    format, problem = recognize([renamed(row, columns) for row in rows])
    if format and resolved(columns, format) is not None:
        return format, problem
    fitting = {}
    for each in FORMATS.values():
        own = resolved(columns, each)
        if own is not None and sum(each.fits(renamed(row, own)) for row in rows) * 2 > len(rows):
            fitting[each.name] = familiarity(columns, each)
    if len(fitting) > 1:
        fitting.pop(PLAIN_TEXT.name, None)
    best = [name for name, value in fitting.items() if value == max(fitting.values())]
    if best:
        return (FORMATS[best[0]], None) if len(best) == 1 else (None, _ambiguous(best))
    is_unknown = problem is not None and problem.code == "unknown_format"
    return format, _unknown(rows, columns) if is_unknown else problem


def why(format: Format, rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """What was seen of the rows that have this format, under our names; ``columns`` are mapped."""
    fitting = sum(map(format.fits, rows))
    some = f"{fitting} of {pluralize(len(rows), 'row')} with"
    which = "every row has" if fitting == len(rows) else some
    seen = next((row for row in rows if format.fits(row)), format.columns)
    used = [name for name in seen if format.uses(format.synonyms.get(name, name))]
    theirs = {
        name: f"{columns[name]} as {name}" for name in used if columns.get(name, name) != name
    }
    return f"{which} {', '.join(theirs.get(name, name) for name in used)}"


# What is asked of a user.


def _ambiguous(names: Sequence[str]) -> Problem:
    """Which of several formats the rows have."""
    what = f"rows fit more than one format: {', '.join(names)}."
    remedy = f"Say which one with --data.format {' or '.join(names)}."
    return Problem("ambiguous_format", what, remedy)


def _text_or_prompt(names: Sequence[str]) -> Problem | None:
    """The question whether a text is a prompt, where a column beside it may be its answer."""
    asked = [name for format in FORMATS.values() for name in _answers(format)]
    about = [name for name in names if name.lower() in {*asked, *ABOUT_A_TEXT}]
    if not about:
        return None
    what = "rows could be texts to be trained as they are, or prompts with an answer"
    pair = flags({"prompt": "text", "completion": about[0]})
    remedy = f"Say which with --data.format {PLAIN_TEXT.name}, or with {pair}."
    return Problem("ambiguous_format", f"{what} (`{about[0]}`).", remedy)


def _answers(format: Format) -> Iterator[str]:
    """The names of the column that holds the answer, in a format of two."""
    if format is not PLAIN_TEXT and len(format.columns) > 1:
        last = list(format.columns)[-1]
        yield from (last, *format.columns[last])


def _unnamed(row: Row) -> Problem:
    """Which cell of rows that are lists is what."""
    texts = (json.dumps(value, ensure_ascii=False, default=str) for value in row.values())
    cells = listed(map(shorten, texts), SHOWN_CELLS)
    what = f"rows are lists, whose columns have no names (the first: {cells})."
    return Problem("unknown_format", what, f"Say which cell is what, counted from 0: {COUNT}.")


def _unknown(rows: Sequence[Row], columns: Mapping[str, str]) -> Problem:
    """That mapped rows have no format, in the names that they have in their file."""
    format, problem = recognize(rows)
    found = shown(dict.fromkeys(column for row in rows for column in row))
    what = f"the rows have no known format with {flags(columns)} (found: {found})."
    remedy = problem.remedy if problem else ""
    without = f"Without that the rows are {format.name}." if format else remedy
    return Problem("unknown_format", what, without)


def _mapping_remedy(found: Sequence[str]) -> str:
    """The flags that would make rows of these columns a format: of several the fewest."""
    ways = []
    for format in FORMATS.values():
        free = [name for name in found if name not in format.columns]
        near = {c: probable(c, free, format) for c in format.columns if c not in found}
        mapped = {ours: theirs for ours, theirs in near.items() if theirs is not None}
        if len(mapped) == len(near) == len(set(near.values())):
            ways.append((len(mapped), f"Read it as {format.name} with {flags(mapped)}."))
    if ways:
        return min(ways, key=lambda way: way[0])[1]
    if len(found) == 1 and not any(format.uses(found[0]) for format in FORMATS.values()):
        return f"Read it as text with {flag('text', found[0])}, if it is to be trained as it is."
    pair = "--data.map prompt=COLUMN --data.map completion=COLUMN"
    return f"Rename its columns, or map them: {pair} (or text=COLUMN for text without answers)."


# Whether the first row of a table names its columns.


def _is_known(name: object) -> bool:
    """Whether a cell is what some format calls a column."""
    return isinstance(name, str) and " ".join(name.split()).casefold() in KNOWN


def _looks_like_row(rows: Sequence[Row]) -> str | None:
    """Why the names of a table's columns are probably a row; None where they are probably none.

    A name that is a value of its own column says most; of the look of a name alone little can be
    said, for forms are saved with whole questions as names.
    """
    names = [name for name in rows[0] if not name.startswith("column ")] if rows else []
    if not names or any(map(_is_known, names)):
        return None
    return _is_value(names, rows) or next(filter(None, map(_looks_said, names)), None)


def _is_value(names: Sequence[str], rows: Sequence[Row]) -> str | None:
    """That one of the names is a value in its column; not of a header that is repeated."""
    others = [row for row in rows if any(row.get(name) != name for name in row)]
    count = {name: sum(row.get(name) == name for row in others) for name in names}
    limit = max(names, key=lambda name: count[name])
    return f"`{shorten(limit)}` is a value in its column too" if count[limit] else None


def _looks_said(name: str) -> str | None:
    if name.replace(".", "", 1).lstrip("-").isdecimal():
        return f"`{name}` is a number"
    is_long = len(name) > LONGEST_NAME or len(name.split()) > MAX_WORDS
    said = is_long or name.endswith(SENTENCE_ENDS)
    return f"`{shorten(name)}` looks like a sentence" if said else None


def _no_header(rows: Sequence[Row], why: str) -> Problem:
    """The question to ask where the first row of a table is probably a row."""
    what = "the first row of a table names its columns, and this one looks like a row"
    remedy = f"If it is a row, say which column is what, counted from 0: {COUNT}. If it names them,"
    cells = shown(map(shorten, rows[0]))
    return Problem(NO_HEADER, f"{what}: {why} (found: {cells}).", f"{remedy} map those names.")


def _taken_as_header(rows: Sequence[Row], columns: Mapping[str, str]) -> Remark | None:
    """What is said where mapped names are probably a row; ``columns`` are mapped by name."""
    names = [name for name in columns.values() if name in rows[0] and not _is_known(name)]
    why = _is_value(names, rows) if names else None
    if why is None:
        return None
    places = {name: str(place) for place, name in enumerate(rows[0])}
    counted = {ours: places[theirs] for ours, theirs in columns.items() if theirs in places}
    what = f"the first row was taken as the names of the columns, and {why}; if it is a row, count "
    return Remark("header", f"{what}the columns: {flags(counted)}")


def _counted_header(row: Row, columns: Mapping[str, str]) -> Problem | None:
    """Why the first row is no row where columns are counted; None where it may be one."""
    if not is_of_a_list(row):
        return None
    names = {ours: str(row.get(place)) for ours, place in columns.items()}
    # One letter (q, a) names a column in some files, and is an answer in others.
    if not all(_is_known(row.get(p)) and len(str(row.get(p))) > 1 for p in columns.values()):
        return None
    what = f"this row names the columns ({shown(names.values())}), and --data.map counts them, so"
    remedy = f"Of a table map the names: {flags(names)}. Else remove the row."
    return Problem("header", f"{what} that it would be trained as a row.", remedy)
