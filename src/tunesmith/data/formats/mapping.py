"""What a user's column map means in a format: our names, theirs, and what is wrong with either."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tunesmith.core.phrases import counted, nearest
from tunesmith.data.faults import Problem
from tunesmith.data.formats.layout import Format, Row
from tunesmith.data.rows import is_of_a_list, not_an_object

FLAG = "--data.map"
NEAR = 0.7


def flag(ours: str, theirs: str) -> str:
    """The words of a command that map a column, as a shell takes them."""
    return f"{FLAG} {shlex.quote(f'{ours}={theirs}')}"


def flags(columns: Mapping[str, str]) -> str:
    """The words that map all of these."""
    return " ".join(flag(ours, theirs) for ours, theirs in columns.items())


def shown(columns: Iterable[str]) -> str:
    """Column names for a message, the first few of many."""
    return counted(columns) or "no columns"


def meaning(name: str, format: Format) -> str | None:
    """The format's own column that a name means; None where it knows no such name."""
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
    """How many of the names are the format's own or synonyms of them in its rows."""
    return sum(format.uses(ours) or ours in format.synonyms for ours in columns)


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """The row under our names; a mapped column hides one that has our name already."""
    gone = {*columns, *columns.values()}
    rest = {name: value for name, value in row.items() if name not in gone}
    return rest | {ours: row[theirs] for ours, theirs in columns.items() if theirs in row}


def probable(column: str, found: Iterable[str], format: Format) -> str | None:
    """The found column that was probably meant by a format's own; None without a near one."""
    lowered = {name.lower(): name for name in found}
    names = (column, *format.columns[column])
    known = (name for name in names if name in lowered)
    near = next(known, None) or nearest(column, lowered, cutoff=0.75)
    return lowered[near] if near else None


def unknown_names(
    columns: Mapping[str, str], formats: Sequence[Format], found: Sequence[str]
) -> Iterator[Problem]:
    """One problem for each mapped name that none of the formats has."""
    who = f"the format {formats[0].name} does not have" if len(formats) == 1 else "no format has"
    for ours, theirs in columns.items():
        if all(meaning(ours, format) is None for format in formats):
            what = f"{flag(ours, theirs)} names the column `{ours}`, which {who}."
            remedy = _other_name(ours, theirs, formats, found)
            yield Problem("unknown_mapping", what, remedy)


def _other_name(ours: str, theirs: str, formats: Sequence[Format], found: Sequence[str]) -> str:
    if ours in found and any(meaning(theirs, format) for format in formats):
        return f"Our name comes first: write {flag(theirs, ours)}."
    own = list(dict.fromkeys(c for f in formats for c in (*f.columns, *f.optional)))
    others = [name for f in formats for names in f.columns.values() for name in names]
    if near := nearest(ours.lower(), [*own, *others], cutoff=NEAR):
        return f"Did you mean {flag(near, theirs)}?"
    return f"Write {FLAG} OURS=THEIRS: ours are {', '.join(own)}; the file has {shown(found)}."


def same_names(columns: Mapping[str, str], format: Format) -> Iterator[Problem]:
    """One problem for each of the format's columns that is mapped under two names."""
    names: dict[str, list[str]] = {}
    for ours in columns:
        names.setdefault(meaning(ours, format) or ours, []).append(f"`{ours}`")
    for own, given in names.items():
        if len(given) > 1:
            who = f"{FLAG} names {' and '.join(given)}, which both mean"
            what = f"{who} the column `{own}` of {format.name}."
            yield Problem("unknown_mapping", what, "Give one of them.")


def absent(
    columns: Mapping[str, str], found: Sequence[str], formats: Sequence[Format]
) -> Iterator[Problem]:
    """One problem for each map of a column that one of the formats needs and no row has."""
    lowered = {name.lower(): name for name in found}
    for ours, theirs in columns.items():
        is_needed = any(meaning(ours, format) in format.columns for format in formats)
        if is_needed and theirs not in found:
            near = nearest(theirs.lower(), lowered, cutoff=NEAR)
            meant = f"Did you mean {flag(ours, lowered[near])}?" if near else None
            who = f"no row has the column `{theirs}` of {flag(ours, theirs)}"
            what = f"{who} (found: {shown(found)})."
            yield Problem("absent_column", what, meant or "Name one that is there.")


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
        near = None if theirs else probable(column, free, format)
        what = f'"{theirs}", which is mapped to "{column}",' if theirs else f'"{column}"'
        message = f"{what} is missing (found: {shown(row)})."
        remedy = f"Add it, or map it with {flag(column, near)}." if near else "Add it."
        problems.append(Problem("missing_column", message, remedy))
    return problems
