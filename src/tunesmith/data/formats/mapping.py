"""What a user's map means: OURS=THEIRS, where OURS is any name that a format knows."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from tunesmith.data.faults import Problem
from tunesmith.data.formats.layout import Format, Row
from tunesmith.data.formats.table import shown

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
            f"{FLAG} {ours}={theirs} names the column `{ours}`, which {who}.",
            _other_name(ours, theirs, formats, found),
        )
        for ours, theirs in columns.items()
        if all(meaning(ours, format) is None for format in formats)
    ]


def _other_name(ours: str, theirs: str, formats: Sequence[Format], found: Sequence[str]) -> str:
    if ours in found and any(meaning(theirs, format) for format in formats):
        return f"Our name stands first: write {FLAG} {theirs}={ours}."
    own = list(dict.fromkeys(c for f in formats for c in (*f.columns, *f.optional)))
    others = [name for f in formats for names in f.columns.values() for name in names]
    if near := difflib.get_close_matches(ours.lower(), [*own, *others], n=1, cutoff=NEAR):
        return f"Did you mean {FLAG} {near[0]}={theirs}?"
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
            f"no row has the column `{columns[ours]}` of {FLAG} {ours}={columns[ours]} (found: "
            f"{shown(found)}).",
            _other_column(ours, columns[ours], found),
        )
        for ours in needed
        if columns[ours] not in found
    ]


def _other_column(ours: str, theirs: str, found: Sequence[str]) -> str:
    lowered = {name.lower(): name for name in found}
    near = difflib.get_close_matches(theirs.lower(), lowered, n=1, cutoff=NEAR)
    return f"Did you mean {FLAG} {ours}={lowered[near[0]]}?" if near else "Name one that is there."
