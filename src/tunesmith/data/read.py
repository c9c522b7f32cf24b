"""Which conversations a file holds, and every fault in it with its line."""

from collections.abc import Mapping
from dataclasses import dataclass
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
)
from tunesmith.data.records import Record, read_records
from tunesmith.data.rows import Conversation

BLANK_LINE = Remark("blank_line", "blank lines between rows were skipped")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file holds: its sound rows, the faults of the others, and what was noticed.

    ``format`` is None if none was recognised; ``rows`` counts sound and faulty rows.
    """

    file: str
    format: str | None
    rows: int
    conversations: tuple[Conversation, ...]
    faults: tuple[Fault, ...]
    notes: tuple[Note, ...]


def read_conversations(
    path: str | Path, *, format: str = "auto", columns: Mapping[str, str] | None = None
) -> list[Conversation]:
    """Every conversation of a file; raises FaultyData with all of its faults.

    ``format`` is a name in the table of formats or `auto`; ``columns`` maps our column names to
    the file's.
    """
    reading = scan(path, format=format, columns=columns)
    refuse(reading.faults)
    return list(reading.conversations)


def scan(
    path: str | Path, *, format: str = "auto", columns: Mapping[str, str] | None = None
) -> Reading:
    """What ``read_conversations`` finds, without raising: sound rows beside faults and notes."""
    file, columns, book = str(path), columns or {}, NoteBook()
    records = [_renamed(record, columns) for record in read_records(Path(path))]
    rows = {record.line: record.values for record in records if record.values is not None}
    chosen, problems = _format(list(rows.values()), format, columns)
    first = min(rows, default=None)
    faults = [problem.at(file, first) for problem in problems]
    faults += [fault for record in records if (fault := record.fault(file))]
    sound = []
    for line, row in rows.items():
        if chosen is None:
            break
        parsed = _parsed(row, chosen)
        conversation = Conversation(
            tuple(parsed.messages), file, line, parsed.completion_from, parsed.tools
        )
        found = parsed.problems or check(conversation)
        faults += [problem.at(file, line) for problem in found]
        sound += [] if found else [conversation]
        book.add(parsed.remarks, line=line)
    for record in records:
        book.add([BLANK_LINE] if record.is_blank else [], line=record.line)
    faults.sort(key=lambda fault: fault.line or 0)
    name = chosen.name if chosen else None
    return Reading(
        file, name, sum(not r.is_blank for r in records), tuple(sound), tuple(faults), book.notes()
    )


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
    return Record(record.line, {**rest, **moved}, record.problem)


def _parsed(row: Row, format: Format) -> Parsed:
    """The row's messages, with what is wrong with its columns noted as well."""
    missing = missing_columns(row, format)
    parsed = Parsed(problems=missing) if missing else format.parse(row)
    refused = [column for column in format.refused if row.get(column)]
    if refused:
        parsed.problem(
            "refused_columns",
            f"the row has {', '.join(refused)}, which {format.name} does not train with.",
            remedy="Remove the column, or the row.",
        )
    known = (*format.columns, *format.optional, *format.refused)
    unused = [column for column in row if column not in known]
    if unused:
        parsed.remarks.append(Remark("unused_columns", f"columns not used: {shown(unused)}"))
    return parsed
