"""A file written and read again, as what tests ask of it."""

from dataclasses import dataclass

from tunesmith.data.records import read_records
from tunesmith.data.rows import ReadOptions


@dataclass(frozen=True)
class Read:
    """Rows with their lines, faults as (code, line), codes of notes, lines that were blank."""

    rows: list
    lines: list
    faults: list
    notes: set
    blank: list


def read(path, data=None, **options):
    """What a file holds; with ``data`` it is written first."""
    if data is not None:
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    records = list(read_records(path, ReadOptions(**options)))
    return Read(
        rows=[record.values for record in records if record.values is not None],
        lines=[record.line for record in records if record.values is not None],
        faults=[(record.problem.code, record.line) for record in records if record.problem],
        notes={note.code for record in records for note in record.notes},
        blank=[record.line for record in records if record.is_blank],
    )
