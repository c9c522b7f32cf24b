"""Every row format, and which of them the rows of a source have."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tunesmith.core.numbers import pluralize
from tunesmith.core.phrases import listed, nearest, shorten
from tunesmith.data.faults import Fault, Note
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
from tunesmith.data.formats.headings import part_named, with_headings
from tunesmith.data.formats.layout import (
    FLAG,
    NEAR,
    Format,
    Row,
    familiarity,
    flag,
    flags,
    meaning,
    probable,
    renamed,
    resolved,
    shown,
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
    problems: tuple[Fault, ...] = ()
    notes: tuple[Note, ...] = ()


def choose_format(
    rows: Sequence[Row], name: str, columns: Mapping[str, str], *, is_named: bool = False
) -> FormatChoice:
    """The format that was asked for by ``name``, or with `auto` the one that most rows have.

    ``is_named``: the names of the columns are the first row of a table.
    """
    if name != "auto" and name not in FORMATS:
        what, known = f"the format `{name}` is not known.", ", ".join(FORMATS)
        return FormatChoice(problems=(Fault("unknown_format", what, f"Known: auto, {known}."),))
    asked = list(FORMATS.values()) if name == "auto" else [FORMATS[name]]
    found = list(dict.fromkeys(column for row in rows for column in row))
    problems = tuple(_unknown_names(columns, asked, found))
    if not problems:
        columns, problems = with_headings(rows, columns, asked)
    if problems or not rows:
        return FormatChoice(problems=problems)
    if problem := _counted_header(rows[0], columns) if columns and not is_named else None:
        return FormatChoice(problems=(problem,))
    format, problem = (asked[0], None) if len(asked) == 1 else _recognized(rows, columns)
    if is_named and not columns and not (format and any(map(format.fits, rows))):
        is_unknown = problem is None or problem.code == "unknown_format"
        if is_unknown and (reason := _looks_like_row(rows)):
            return FormatChoice(problems=(_no_header(rows, reason),))
    needing = asked if format is None else [format]
    if problems := tuple(_absent(columns, found, needing)):
        return FormatChoice(problems=problems)
    if format is None:
        return FormatChoice(problems=(problem,) if problem else ())
    own = resolved(columns, format) if columns else {}
    if own is None:
        wrong = (*_unknown_names(columns, [format], found), *_same_names(columns, format))
        return FormatChoice(problems=wrong)
    note = _taken_as_header(rows, own) if is_named and own else None
    seen = why(format, [renamed(row, own) for row in rows] if own else rows, own)
    return FormatChoice(format, own, seen, notes=(note,) if note else ())


def recognize(rows: Sequence[Row]) -> tuple[Format | None, Fault | None]:
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
    known = ", ".join(f"{format.name} ({', '.join(format.columns)})" for format in FORMATS.values())
    what = f"the rows have no known format (found: {shown(names)}). Known: {known}."
    return None, Fault("unknown_format", what, _mapping_remedy(names))


def _recognized(
    rows: Sequence[Row], columns: Mapping[str, str]
) -> tuple[Format | None, Fault | None]:
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


def _unknown_names(
    columns: Mapping[str, str], formats: Sequence[Format], found: Sequence[str]
) -> Iterator[Fault]:
    """One problem for each mapped name that none of the formats has."""
    who = f"the format {formats[0].name} does not have" if len(formats) == 1 else "no format has"
    for ours, theirs in columns.items():
        if all(meaning(ours, format) is None for format in formats):
            what = f"{flag(ours, theirs)} names the column `{ours}`, which {who}."
            remedy = _other_name(ours, theirs, formats, found)
            yield Fault("unknown_mapping", what, remedy)


def _other_name(ours: str, theirs: str, formats: Sequence[Format], found: Sequence[str]) -> str:
    if ours in found and any(meaning(theirs, format) for format in formats):
        return f"Our name comes first: write {flag(theirs, ours)}."
    own = list(dict.fromkeys(c for f in formats for c in (*f.columns, *f.optional)))
    others = [name for f in formats for names in f.columns.values() for name in names]
    if near := nearest(ours.lower(), [*own, *others], cutoff=NEAR):
        return f"Did you mean {flag(near, theirs)}?"
    return f"Write {FLAG} OURS=THEIRS: ours are {', '.join(own)}; the file has {shown(found)}."


def _same_names(columns: Mapping[str, str], format: Format) -> Iterator[Fault]:
    """One problem for each of the format's columns that is mapped under two names."""
    names: dict[str, list[str]] = {}
    for ours in columns:
        names.setdefault(meaning(ours, format) or ours, []).append(f"`{ours}`")
    for own, given in names.items():
        if len(given) > 1:
            who = f"{FLAG} names {' and '.join(given)}, which both mean"
            what = f"{who} the column `{own}` of {format.name}."
            yield Fault("unknown_mapping", what, "Give one of them.")


def _absent(
    columns: Mapping[str, str], found: Sequence[str], formats: Sequence[Format]
) -> Iterator[Fault]:
    """One problem for each map of a column that one of the formats needs and no row has."""
    lowered = {name.lower(): name for name in found}
    for ours, theirs in columns.items():
        is_needed = any(meaning(ours, format) in format.columns for format in formats)
        if is_needed and theirs not in found:
            near = nearest(theirs.lower(), lowered, cutoff=NEAR)
            meant = f"Did you mean {flag(ours, lowered[near])}?" if near else None
            who = f"no row has the column `{theirs}` of {flag(ours, theirs)}"
            what = f"{who} (found: {shown(found)})."
            yield Fault("absent_column", what, meant or "Name one that is there.")


def _ambiguous(names: Sequence[str]) -> Fault:
    """Which of several formats the rows have."""
    what = f"rows fit more than one format: {', '.join(names)}."
    remedy = f"Say which one with --data.format {' or '.join(names)}."
    return Fault("ambiguous_format", what, remedy)


def _text_or_prompt(names: Sequence[str]) -> Fault | None:
    """The question whether a text is a prompt, where a column beside it may be its answer."""
    pairs = [list(f.columns.items())[-1] for f in FORMATS.values() if len(f.columns) > 1]
    asked = [name for answer, others in pairs for name in (answer, *others)]
    about = [name for name in names if name.lower() in {*asked, *ABOUT_A_TEXT}]
    if not about:
        return None
    what = "rows could be texts to be trained as they are, or prompts with an answer"
    pair = flags({"prompt": "text", "completion": about[0]})
    remedy = f"Say which with --data.format {PLAIN_TEXT.name}, or with {pair}."
    return Fault("ambiguous_format", f"{what} (`{about[0]}`).", remedy)


def _unnamed(row: Row) -> Fault:
    """Which cell of rows that are lists is what."""
    texts = (json.dumps(value, ensure_ascii=False, default=str) for value in row.values())
    cells = listed(map(shorten, texts), SHOWN_CELLS)
    what = f"rows are lists, whose columns have no names (the first: {cells})."
    return Fault("unknown_format", what, f"Say which cell is what, counted from 0: {COUNT}.")


def _unknown(rows: Sequence[Row], columns: Mapping[str, str]) -> Fault:
    """That mapped rows have no format, in the names that they have in their file."""
    format, problem = recognize(rows)
    found = shown(dict.fromkeys(column for row in rows for column in row))
    what = f"the rows have no known format with {flags(columns)} (found: {found})."
    remedy = problem.remedy if problem else ""
    without = f"Without that the rows are {format.name}." if format else remedy
    return Fault("unknown_format", what, without)


def _mapping_remedy(found: Sequence[str]) -> str:
    """The flags that would make rows of these columns a format: of several the fewest, and text,
    which trains one column alone, where there is no other.
    """
    ways = []
    for format in FORMATS.values():
        free = [name for name in found if name not in format.columns]
        near = {c: probable(c, free, format) for c in format.columns if c not in found}
        mapped = {ours: theirs for ours, theirs in near.items() if theirs is not None}
        if len(mapped) == len(near) == len(set(near.values())):
            cost = format is PLAIN_TEXT, len(mapped)
            ways.append((cost, f"Read it as {format.name} with {flags(mapped)}."))
    if ways:
        return min(ways, key=lambda way: way[0])[1]
    if len(found) == 1 and not any(format.uses(found[0]) for format in FORMATS.values()):
        return f"Read it as text with {flag('text', found[0])}, if it is to be trained as it is."
    pair = "--data.map prompt=COLUMN --data.map completion=COLUMN"
    return f"Rename its columns, or map them: {pair} (or text=COLUMN for text without answers)."


# Whether the first row of a table names its columns.


def _is_known(name: object) -> bool:
    """Whether a cell is what some format calls a column."""
    is_ours = isinstance(name, str) and " ".join(name.split()).casefold() in KNOWN
    return is_ours or part_named(name) is not None


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


def _no_header(rows: Sequence[Row], why: str) -> Fault:
    """The question to ask where the first row of a table is probably a row."""
    what = "the first row of a table names its columns, and this one looks like a row"
    remedy = f"If it is a row, say which column is what, counted from 0: {COUNT}. If it names them,"
    cells = shown(map(shorten, rows[0]))
    return Fault(NO_HEADER, f"{what}: {why} (found: {cells}).", f"{remedy} map those names.")


def _taken_as_header(rows: Sequence[Row], columns: Mapping[str, str]) -> Note | None:
    """What is said where mapped names are probably a row; ``columns`` are mapped by name."""
    names = [name for name in columns.values() if name in rows[0] and not _is_known(name)]
    why = _is_value(names, rows) if names else None
    if why is None:
        return None
    places = {name: str(place) for place, name in enumerate(rows[0])}
    counted = {ours: places[theirs] for ours, theirs in columns.items() if theirs in places}
    what = f"the first row was taken as the names of the columns, and {why}; if it is a row, count "
    return Note("header", f"{what}the columns: {flags(counted)}")


def _counted_header(row: Row, columns: Mapping[str, str]) -> Fault | None:
    """Why the first row is no row where columns are counted; None where it may be one."""
    if not is_of_a_list(row):
        return None
    names = {ours: str(row.get(place)) for ours, place in columns.items()}
    # One letter (q, a) names a column in some files, and is an answer in others.
    if not all(_is_known(row.get(p)) and len(str(row.get(p))) > 1 for p in columns.values()):
        return None
    what = f"this row names the columns ({shown(names.values())}), and --data.map counts them, so"
    remedy = f"Of a table map the names: {flags(names)}. Else remove the row."
    return Fault("header", f"{what} that it would be trained as a row.", remedy)
