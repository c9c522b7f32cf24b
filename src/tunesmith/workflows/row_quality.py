"""What is said of a run's rows before it begins, and which of them are left out by name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunesmith.config.drop import TOO_LONG
from tunesmith.config.methods import kind_named
from tunesmith.config.run import DataSettings
from tunesmith.counts import many
from tunesmith.data.faults import Note
from tunesmith.data.quality.few_rows import few_rows
from tunesmith.data.quality.watch import Quality
from tunesmith.data.rows import Conversation
from tunesmith.errors import DataError


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows that are kept, and what was noticed of them and of the others."""

    rows: list[Conversation]
    notes: tuple[Note, ...]


def judge_rows(
    rows: Sequence[Conversation], held: Iterable[Conversation], settings: DataSettings
) -> Judged:
    """Look at the training rows, beside those of a file that is held out, and drop what is named.

    Raises DataError where no row is left.
    """
    quality = Quality()
    for row in held:
        quality.hold(row)
    for row in rows:
        quality.observe(row)
    dropped = quality.drop([name for name in settings.drop if name != TOO_LONG])
    kept = dropped.kept(rows)
    if rows and not kept:
        raise DataError(
            f"No row is left to train on: --data.drop {','.join(settings.drop)} leaves all out "
            f"({many(len(rows), 'row')}).",
            remedy="Name less, or mend the rows: `tunesmith data check` lists them.",
            code="no_rows",
        )
    return Judged(kept, (*dropped.notes, *quality.warnings(dropped)))


def told_of_few(rows: int, method: str) -> tuple[Note, ...]:
    """A note where these are few rows for the method."""
    found = few_rows(rows, kind_named(method)) if rows else ()
    return tuple(Note(each.code, each.message, rows) for each in found)
