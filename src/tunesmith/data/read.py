"""Which conversations a file holds, and every fault in it with its line."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.data.checks import check
from tunesmith.data.faults import Fault, Note, NoteBook, Problem, Remark, refuse
from tunesmith.data.formats.layout import Format, Parsed, Row
from tunesmith.data.formats.table import (
    FORMATS,
    missing_columns,
    recognise,
    shown,
    unknown_mapping,
    why,
)
from tunesmith.data.records import AUTO, ReadOptions, Record, read_records
from tunesmith.data.rows import Conversation

BLANK_LINE = Remark("blank_line", "blank lines between rows were skipped")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file holds: its sound rows, the faults of the others, and what was noticed.

    ``format`` is None if none was recognised, ``reason`` what was seen of it; ``rows`` counts sound
    and faulty rows.
    """

    file: str
    format: str | None
    rows: int
    conversations: tuple[Conversation, ...]
    faults: tuple[Fault, ...]
    notes: tuple[Note, ...]
    reason: str = ""


def read_conversations(
    path: str | Path,
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    options: ReadOptions = AUTO,
) -> list[Conversation]:
    """Every conversation of a file; raises FaultyData with all of its faults.

    ``format`` is a name in the table of formats or `auto`; ``columns`` maps our column names to
    the file's; ``options`` say of the file what it does not say itself.
    """
    reading = scan(path, format=format, columns=columns, options=options)
    refuse(reading.faults)
    return list(reading.conversations)


def scan(
    path: str | Path,
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    options: ReadOptions = AUTO,
) -> Reading:
    """What ``read_conversations`` finds, without raising: sound rows beside faults and notes."""
    file, columns, book = str(path), columns or {}, NoteBook()
    records = [_renamed(record, columns) for record in read_records(path, options)]
    rows = [record for record in records if record.values is not None]
    values: list[Row] = [record.values for record in rows if record.values is not None]
    chosen, problems = _format(values, format, columns)
    place = (rows[0].file or file, rows[0].line or None) if rows else (file, None)
    faults = [problem.at(*place) for problem in problems]
    faults += [fault for record in records if (fault := record.fault(file))]
    sound = []
    for record, row in zip(rows, values, strict=True):
        if chosen is None:
            break
        parsed = _parsed(row, chosen)
        where, line = record.file or file, record.line
        conversation = Conversation(tuple(parsed.messages), where, line, parsed.completion_from)
        found = parsed.problems or check(conversation)
        faults += [problem.at(where, line) for problem in found]
        sound += [] if found else [conversation]
        book.add(parsed.remarks, line=line)
    for record in records:
        book.add([BLANK_LINE] if record.is_blank else record.remarks, line=record.line)
    faults.sort(key=lambda fault: fault.line or 0)
    name, reason = (chosen.name, why(chosen, values)) if chosen else (None, "")
    count = sum(record.is_row for record in records)
    return Reading(file, name, count, tuple(sound), tuple(faults), book.notes(), reason)


def _format(
    rows: list[Row], name: str, columns: Mapping[str, str]
) -> tuple[Format | None, list[Problem]]:
    """The format asked for or recognised; without one, why not."""
    if name != "auto" and name not in FORMATS:
        what = f"the format `{name}` is not known."
        return None, [Problem("unknown_format", what, f"Known: auto, {', '.join(FORMATS)}.")]
    asked = FORMATS.values() if name == "auto" else [FORMATS[name]]
    wrong = unknown_mapping(columns, asked)
    if wrong or not rows:
        return None, wrong
    if name != "auto":
        return FORMATS[name], []
    chosen, problem = recognise(rows)
    return chosen, [problem] if problem else []


def _renamed(record: Record, columns: Mapping[str, str]) -> Record:
    """The record under our column names; a mapped column hides one that has our name already."""
    if record.values is None or not columns:
        return record
    theirs = {name: ours for ours, name in columns.items() if name in record.values}
    kept = {name: value for name, value in record.values.items() if name not in columns}
    moved = {ours: record.values[name] for name, ours in theirs.items()}
    rest = {name: value for name, value in kept.items() if name not in theirs}
    return replace(record, values={**rest, **moved})


def _parsed(row: Row, format: Format) -> Parsed:
    """The row's messages, with what is wrong with its columns noted as well."""
    row = format.named(row)
    missing = missing_columns(row, format)
    parsed = Parsed(problems=missing) if missing else format.parse(row)
    refused = [column for column in format.refused if row.get(column)]
    if refused:
        parsed.problem(
            "tools",
            f"the row has {', '.join(refused)}, and tool use is not trained.",
            remedy="Remove the row, or write the tools into the system message as text.",
        )
    unused = [column for column in row if not format.uses(column)]
    if unused:
        parsed.remarks.append(Remark("unused_columns", f"columns not used: {shown(unused)}"))
    return parsed
