"""Every row format, and which one a file has."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from tunesmith.data.faults import Problem
from tunesmith.data.formats.chat import CHAT
from tunesmith.data.formats.layout import Format, Row
from tunesmith.data.formats.prompt_completion import PROMPT_COMPLETION

FORMATS: dict[str, Format] = {format.name: format for format in (CHAT, PROMPT_COMPLETION)}


def recognise(rows: Sequence[Row]) -> tuple[Format | None, Problem | None]:
    """The one format that most rows have, or why there is none."""
    counts = {name: sum(map(format.fits, rows)) for name, format in FORMATS.items()}
    most = max(counts.values())
    best = [name for name, count in counts.items() if count == most]
    if most and len(best) == 1:
        return FORMATS[best[0]], None
    if most:
        what = f"rows fit more than one format: {', '.join(best)}."
        remedy = f"Say which one with --data.format {best[0]}."
        return None, Problem("ambiguous_format", what, remedy)
    names = list(dict.fromkeys(column for row in rows for column in row))
    known = "; ".join(f"{format.name} ({', '.join(format.columns)})" for format in FORMATS.values())
    return None, Problem(
        "unknown_format",
        f"no known format (found: {shown(names)}). Known: {known}.",
        _mapping_remedy(names),
    )


def _mapping_remedy(found: Sequence[str]) -> str:
    for format in FORMATS.values():
        flags = [map_flag(column, found, format) for column in format.columns]
        if all(flags):
            return f"Read it as {format.name} with {' '.join(map(str, flags))}."
    return "Rename its columns, or map them with --data.map OURS=THEIRS."


def missing_columns(row: Row, format: Format) -> list[Problem]:
    """One problem for each column that the format needs and the row lacks."""
    free = [column for column in row if column not in format.columns]
    problems = []
    for column in format.columns:
        if column not in row:
            flag = map_flag(column, free, format)
            mapped = f", or map it with {flag}" if flag else ""
            message = f'"{column}" is missing (found: {shown(row)}).'
            problems.append(Problem("missing_column", message, f"Add it{mapped}."))
    return problems


def map_flag(column: str, found: Iterable[str], format: Format) -> str | None:
    """The flag that would map the nearest found column to ``column``; None without a near one."""
    lowered = {name.lower(): name for name in found}
    names = (column, *format.columns[column])
    near = [name for name in names if name in lowered]
    near = near or difflib.get_close_matches(column, lowered, n=1, cutoff=0.7)
    return f"--data.map {column}={lowered[near[0]]}" if near else None


def unknown_mapping(columns: Mapping[str, str], formats: Iterable[Format]) -> list[Problem]:
    """One problem for each mapped name that no format in question has."""
    known = list(dict.fromkeys(column for format in formats for column in format.columns))
    return [
        Problem(
            "unknown_mapping",
            f"--data.map names the column `{ours}`, which no format has.",
            f"Our columns are {', '.join(known)}: write --data.map OURS=THEIRS.",
        )
        for ours in columns
        if ours not in known
    ]


def shown(columns: Iterable[str], most: int = 12) -> str:
    """Column names for a message, the first few of many."""
    names = list(columns)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "no columns"
