"""Whether a run has few rows for its method."""

from tunesmith.config.methods import kind_named
from tunesmith.data.faults import Note
from tunesmith.data.quality.few_rows import few_rows


def told_of_few(rows: int, method: str) -> tuple[Note, ...]:
    """A note where these are few rows for the method."""
    found = few_rows(rows, kind_named(method)) if rows else ()
    return tuple(Note(each.code, each.message, rows) for each in found)
