"""Which conversations a file holds, and every fault in it with its line; one row at a time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from tunesmith.data.checks import check
from tunesmith.data.chunks import SAMPLE, chunked
from tunesmith.data.faults import (
    Fault,
    FaultBook,
    Faults,
    Note,
    NoteBook,
    Problem,
    Remark,
    refuse,
)
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
class Asked:
    """A file and how to read it: a name in the table of formats or `auto`, columns by our names."""

    file: str
    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the records of a file become rows; without a ``format`` none does."""

    file: str
    format: str | None
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What a record holds: a sound conversation or faults, and what was noticed."""

    line: int
    is_row: bool
    conversation: Conversation | None = None
    faults: tuple[Fault, ...] = ()
    remarks: tuple[Remark, ...] = ()


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
    unlisted: Mapping[str, int] = field(default_factory=dict)


def read_conversations(
    path: str | Path, *, format: str = "auto", columns: Mapping[str, str] | None = None
) -> list[Conversation]:
    """Every conversation of a file; raises FaultyData with all of its faults.

    ``format`` is a name in the table of formats or `auto`; ``columns`` maps our column names to
    the file's.
    """
    reading = scan(path, format=format, columns=columns)
    refuse(Faults(reading.faults, reading.unlisted))
    return list(reading.conversations)


def scan(
    path: str | Path,
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    most: int | None = None,
) -> Reading:
    """What ``read_conversations`` finds, without raising: sound rows beside faults and notes.

    All rows are looked at; the first ``most`` sound ones are kept, all where it is None.
    """
    layout, faults, rows = read_rows(Asked(str(path), format, columns or {}))
    book, notes, count = FaultBook(), NoteBook(), 0
    book.add(faults)
    kept: list[Conversation] = []
    for found in rows:
        count += found.is_row
        book.add(found.faults)
        notes.add(found.remarks, line=found.line)
        if found.conversation is not None and (most is None or len(kept) < most):
            kept.append(found.conversation)
    told = book.faults()
    return Reading(
        layout.file,
        layout.format,
        count,
        tuple(kept),
        told.listed,
        notes.notes(),
        told.unlisted,
    )


def read_rows(asked: Asked) -> tuple[Layout, tuple[Fault, ...], Iterator[Found]]:
    """The layout of a file, what is wrong with it as a whole, and its rows one after the other."""
    layout, faults, records = open_records(asked)
    return layout, faults, (found_in(record, layout) for record in records)


def open_records(asked: Asked) -> tuple[Layout, tuple[Fault, ...], Iterator[Record]]:
    """The layout that the first rows of a file have, why there is none, and all of its records."""
    records = read_records(Path(asked.file))
    first = next(chunked(records, SAMPLE), [])
    renamed = [_renamed(record, asked.columns) for record in first]
    rows = {record.line: record.values for record in renamed if record.values is not None}
    chosen, problems = _format(list(rows.values()), asked.format, asked.columns)
    layout = Layout(asked.file, chosen.name if chosen else None, asked.columns)
    faults = tuple(problem.at(asked.file, min(rows, default=None)) for problem in problems)
    return layout, faults, chain(first, records)


def found_in(record: Record, layout: Layout) -> Found:
    """The conversation of a record, or why it is none."""
    record = _renamed(record, layout.columns)
    if record.is_blank:
        return Found(record.line, is_row=False, remarks=(BLANK_LINE,))
    if record.values is None or layout.format is None:
        fault = record.fault(layout.file)
        return Found(record.line, is_row=True, faults=(fault,) if fault else ())
    parsed = _parsed(record.values, FORMATS[layout.format])
    conversation = Conversation(
        tuple(parsed.messages), layout.file, record.line, parsed.completion_from
    )
    problems = parsed.problems or check(conversation)
    faults = tuple(problem.at(layout.file, record.line) for problem in problems)
    sound = None if problems else conversation
    return Found(record.line, True, sound, faults, tuple(parsed.remarks))


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
            "tools",
            f"the row has {', '.join(refused)}, and tool use is not trained.",
            remedy="Remove the row, or write the tools into the system message as text.",
        )
    unused = [c for c in row if c not in format.columns and c not in format.refused]
    if unused:
        parsed.remarks.append(Remark("unused_columns", f"columns not used: {shown(unused)}"))
    return parsed
