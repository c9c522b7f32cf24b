"""Every row format, which one rows have, and what a user's column map means."""

import difflib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tunesmith.core.numbers import many
from tunesmith.data.faults import Problem
from tunesmith.data.formats.chats import CHAT, SHAREGPT
from tunesmith.data.formats.columns import (
    ALPACA,
    MULTIPLE_CHOICE,
    PLAIN_TEXT,
    PREFERENCE,
    PROMPT_COMPLETION,
    QUERY_RESPONSE,
)
from tunesmith.data.formats.layout import Format, Row
from tunesmith.data.rows import is_of_a_list, not_an_object

FORMATS: dict[str, Format] = {
    format.name: format
    for format in (CHAT, PROMPT_COMPLETION, SHAREGPT, ALPACA, QUERY_RESPONSE, MULTIPLE_CHOICE)
}
FORMATS[PLAIN_TEXT.name] = PLAIN_TEXT
# Recognised, so that they can be refused with the way out.
REFUSED = (PREFERENCE,)
# Columns that tell of the text beside them what it is: then it may be a prompt.
ABOUT_A_TEXT = {"category", "class", "intent", "sentiment", "rating", "score", "stars", "summary"}
ABOUT_A_TEXT |= {"labels", "label_text", "translation"}
SHOWN_CELLS, SHOWN_CELL = 3, 40


def recognise(rows: Sequence[Row]) -> tuple[Format | None, Problem | None]:
    """The one format that most rows have, or why there is none."""
    for format in REFUSED:
        fitting = [row for row in rows if format.fits(row)]
        if format.refusal and len(fitting) * 2 > len(rows):
            return None, format.refusal(format.named(fitting[0]))
    counts = {
        name: sum(map(format.fits, rows))
        for name, format in FORMATS.items()
        if format is not PLAIN_TEXT
    }
    most = max(counts.values())
    best = [name for name, count in counts.items() if count == most]
    if most and len(best) == 1:
        return FORMATS[best[0]], None
    if most:
        return None, ambiguous(best)
    names = list(dict.fromkeys(column for row in rows for column in row))
    if any(map(PLAIN_TEXT.fits, rows)):
        problem = _text_or_prompt(names)
        return (None, problem) if problem else (PLAIN_TEXT, None)
    if lists := [row for row in rows if is_of_a_list(row)]:
        return None, _unnamed(lists[0])
    known = "; ".join(f"{format.name} ({', '.join(format.columns)})" for format in FORMATS.values())
    return None, Problem(
        "unknown_format",
        f"the rows have no known format (found: {shown(names)}). Known: {known}.",
        _mapping_remedy(names),
    )


def _unnamed(row: Row) -> Problem:
    """The question to ask where rows are lists: which of their cells is what."""
    cells = ", ".join(map(_cell, list(row.values())[:SHOWN_CELLS]))
    more = ", ..." if len(row) > SHOWN_CELLS else ""
    what = f"rows are lists, whose columns have no names (the first: {cells}{more})."
    remedy = "Say which cell is what, counted from 0: --data.map prompt=0 --data.map completion=1"
    return Problem("unknown_format", what, f"{remedy}.")


def _cell(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CELL else f"{text[:SHOWN_CELL]}…"


def ambiguous(names: Sequence[str]) -> Problem:
    """The question to ask where rows have several formats."""
    what = f"rows fit more than one format: {', '.join(names)}."
    remedy = f"Say which one with --data.format {' or '.join(names)}."
    return Problem("ambiguous_format", what, remedy)


def _text_or_prompt(names: Sequence[str]) -> Problem | None:
    """The question to ask where a text stands beside what may be its answer."""
    asked = [name for format in FORMATS.values() for name in _answers(format)]
    about = [name for name in names if name.lower() in {*asked, *ABOUT_A_TEXT}]
    if not about:
        return None
    what = (
        f"rows could be texts to be trained as they are, or prompts with an answer (`{about[0]}`)."
    )
    pair = f"{flag('prompt', 'text')} {flag('completion', about[0])}"
    remedy = f"Say which with --data.format {PLAIN_TEXT.name}, or with {pair}."
    return Problem("ambiguous_format", what, remedy)


def _answers(format: Format) -> Iterator[str]:
    """The names of the column that holds the answer, in a format of two."""
    if format is not PLAIN_TEXT and len(format.columns) > 1:
        last = list(format.columns)[-1]
        yield from (last, *format.columns[last])


def why(format: Format, rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """What was seen of the rows that have this format, under our names; ``columns`` are mapped."""
    fitting = sum(map(format.fits, rows))
    some = f"{fitting} of {many(len(rows), 'row')} with"
    which = "every row has" if fitting == len(rows) else some
    seen = next((row for row in rows if format.fits(row)), format.columns)
    used = [name for name in seen if format.uses(format.synonyms.get(name, name))]
    theirs = {
        name: f"{columns[name]} as {name}" for name in used if columns.get(name, name) != name
    }
    return f"{which} {shown(theirs.get(name, name) for name in used)}"


def _mapping_remedy(found: Sequence[str]) -> str:
    """The flags that would make rows of these columns a format: of several the fewest."""
    ways = []
    for format in FORMATS.values():
        free = [name for name in found if name not in format.columns]
        near = {c: nearest(c, free, format) for c in format.columns if c not in found}
        flags = [flag(ours, theirs) for ours, theirs in near.items() if theirs is not None]
        if len(flags) == len(near) == len(set(near.values())):
            ways.append((len(flags), f"Read it as {format.name} with {' '.join(flags)}."))
    if ways:
        return min(ways, key=lambda way: way[0])[1]
    if len(found) == 1 and not any(format.uses(found[0]) for format in FORMATS.values()):
        return f"Read it as text with {flag('text', found[0])}, if it is to be trained as it is."
    pair = "--data.map prompt=COLUMN --data.map completion=COLUMN"
    return f"Rename its columns, or map them: {pair} (or text=COLUMN for text without answers)."


def missing_columns(row: Row, format: Format, columns: Mapping[str, str]) -> list[Problem]:
    """One problem for each column that the format needs and the row lacks; ``columns`` are mapped.

    The row has the names that it has in its file.
    """
    if is_of_a_list(row) and not any(theirs in row for theirs in columns.values()):
        return [not_an_object(list(row.values()))]
    free = [name for name in row if not format.uses(name) and name not in columns.values()]
    here = {*format.named(row), *(ours for ours, theirs in columns.items() if theirs in row)}
    problems = []
    for column in format.columns:
        theirs = columns.get(column)
        if column in here and (theirs is None or theirs in row):
            continue
        near = None if theirs else nearest(column, free, format)
        what = f'"{theirs}", which is mapped to "{column}",' if theirs else f'"{column}"'
        message = f"{what} is missing (found: {shown(row)})."
        remedy = f"Add it, or map it with {flag(column, near)}." if near else "Add it."
        problems.append(Problem("missing_column", message, remedy))
    return problems


def nearest(column: str, found: Iterable[str], format: Format) -> str | None:
    """The found column that was probably meant by ``column``; None without a near one."""
    lowered = {name.lower(): name for name in found}
    names = (column, *format.columns[column])
    near = [name for name in names if name in lowered]
    near = near or difflib.get_close_matches(column, lowered, n=1, cutoff=0.75)
    return lowered[near[0]] if near else None


def flag(ours: str, theirs: str) -> str:
    """The words of a command that map a column, as a shell takes them."""
    return f"--data.map {shlex.quote(f'{ours}={theirs}')}"


def shown(columns: Iterable[str], most: int = 12) -> str:
    """Column names for a message, the first few of many."""
    names = list(columns)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "no columns"


FLAG = "--data.map"
NEAR = 0.7


def meaning(name: str, format: Format) -> str | None:
    """The format's own column that a name stands for; None where it knows no such name."""
    if format.uses(name):
        return name
    if name in format.synonyms:
        return format.synonyms[name]
    return next((ours for ours, others in format.columns.items() if name in others), None)


def resolved(columns: Mapping[str, str], format: Format) -> dict[str, str] | None:
    """The map under the format's own names; None where one is not known, or two are the same."""
    own = {meaning(ours, format): theirs for ours, theirs in columns.items()}
    if None in own or len(own) < len(columns):
        return None
    return {str(ours): theirs for ours, theirs in own.items()}


def familiarity(columns: Mapping[str, str], format: Format) -> int:
    """How many of the names are the format's own or stand for them in its rows."""
    return sum(format.uses(ours) or ours in format.synonyms for ours in columns)


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """The row under our names; a mapped column hides one that has our name already."""
    gone = {*columns, *columns.values()}
    rest = {name: value for name, value in row.items() if name not in gone}
    return rest | {ours: row[theirs] for ours, theirs in columns.items() if theirs in row}


def unknown_names(
    columns: Mapping[str, str], formats: Sequence[Format], found: Sequence[str]
) -> list[Problem]:
    """One problem for each mapped name that none of the formats has."""
    who = f"the format {formats[0].name} does not have" if len(formats) == 1 else "no format has"
    return [
        Problem(
            "unknown_mapping",
            f"{flag(ours, theirs)} names the column `{ours}`, which {who}.",
            _other_name(ours, theirs, formats, found),
        )
        for ours, theirs in columns.items()
        if all(meaning(ours, format) is None for format in formats)
    ]


def _other_name(ours: str, theirs: str, formats: Sequence[Format], found: Sequence[str]) -> str:
    if ours in found and any(meaning(theirs, format) for format in formats):
        return f"Our name stands first: write {flag(theirs, ours)}."
    own = list(dict.fromkeys(c for f in formats for c in (*f.columns, *f.optional)))
    others = [name for f in formats for names in f.columns.values() for name in names]
    if near := difflib.get_close_matches(ours.lower(), [*own, *others], n=1, cutoff=NEAR):
        return f"Did you mean {flag(near[0], theirs)}?"
    return f"Write {FLAG} OURS=THEIRS: ours are {', '.join(own)}; the file has {shown(found)}."


def same_names(columns: Mapping[str, str], format: Format) -> list[Problem]:
    """One problem for each of the format's columns that is mapped under two names."""
    names: dict[str, list[str]] = {}
    for ours in columns:
        names.setdefault(meaning(ours, format) or ours, []).append(ours)
    return [
        Problem(
            "unknown_mapping",
            f"{FLAG} names {' and '.join(f'`{each}`' for each in given)}, which both mean the "
            f"column `{own}` of {format.name}.",
            "Give one of them.",
        )
        for own, given in names.items()
        if len(given) > 1
    ]


def absent(
    columns: Mapping[str, str], found: Sequence[str], formats: Iterable[Format]
) -> list[Problem]:
    """One problem for each map of a column that one of the formats needs and no row has."""
    formats = list(formats)
    needed = [o for o in columns if any(meaning(o, f) in f.columns for f in formats)]
    return [
        Problem(
            "absent_column",
            f"no row has the column `{columns[ours]}` of {flag(ours, columns[ours])} (found: "
            f"{shown(found)}).",
            _other_column(ours, columns[ours], found),
        )
        for ours in needed
        if columns[ours] not in found
    ]


def _other_column(ours: str, theirs: str, found: Sequence[str]) -> str:
    lowered = {name.lower(): name for name in found}
    near = difflib.get_close_matches(theirs.lower(), lowered, n=1, cutoff=NEAR)
    return f"Did you mean {flag(ours, lowered[near[0]])}?" if near else "Name one that is there."
