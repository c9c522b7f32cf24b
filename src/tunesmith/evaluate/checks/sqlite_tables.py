"""Tables in memory that a foreign query may read but never change, nor run on without end."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tunesmith.counts import many

Row = tuple[object, ...]
Result = list[Row]

READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
REACHING_FILES = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH}
# Another answer each time, or a way out of SQLite.
DENIED_FUNCTIONS = {"random", "randomblob", "load_extension", "readfile", "writefile", "edit"}
LONGEST_VALUE = 1_000_000  # bytes
LONGEST_QUERY = 20_000
OPERATIONS_BETWEEN_LOOKS = 10_000
SECONDS_TO_FILL = 60.0


class QueryFailed(Exception):
    """Why a query gave no result."""


class Tables:
    """A database of its own, filled once; `run` answers queries on it."""

    def __init__(self, fill: Callable[[sqlite3.Connection], None]) -> None:
        """Raises sqlite3.Error for what ``fill`` cannot do."""
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        try:
            fill(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self.rows = _count_rows(self._connection)
        self._connection.execute("PRAGMA query_only = ON")
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, LONGEST_QUERY)
        self._connection.set_authorizer(_may_read)

    def run(self, query: str, *, seconds: float, most_rows: int) -> Result:
        """The rows of one SELECT; raises QueryFailed for anything else, and past the limits."""
        stop_at = _stop_after(seconds, self._connection)
        try:
            with closing(self._connection.cursor()) as cursor:
                cursor.execute(query)
                if cursor.description is None:
                    raise QueryFailed("it is no query that gives rows")
                rows: Result = cursor.fetchmany(most_rows + 1)
        except sqlite3.Error as error:
            is_late = time.monotonic() > stop_at
            why = f"it ran for more than {seconds:g} s" if is_late else str(error)
            raise QueryFailed(why) from None
        except (ValueError, sqlite3.Warning, OverflowError, MemoryError) as error:
            raise QueryFailed(str(error)) from None
        if len(rows) > most_rows:
            raise QueryFailed(f"it gives more than {many(most_rows, 'row')}")
        return rows


def tables_of_script(script: str) -> Tables:
    """Tables made by SQL statements, which reach no file; raises sqlite3.Error."""

    def fill(connection: sqlite3.Connection) -> None:
        connection.set_authorizer(_may_make)
        _stop_after(SECONDS_TO_FILL, connection)
        connection.executescript(script)

    return Tables(fill)


def tables_of_file(path: Path) -> Tables:
    """A copy of a database file, which is opened for reading only; raises sqlite3.Error."""

    def fill(connection: sqlite3.Connection) -> None:
        # Without a log beside it the file is whole, and SQLite need not write one to read it.
        whole = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
        address = f"{path.absolute().as_uri()}?mode=ro{whole}"
        with closing(sqlite3.connect(address, uri=True)) as source:
            source.backup(connection)

    return Tables(fill)


def _count_rows(connection: sqlite3.Connection) -> int:
    """Rows of all tables together."""
    names = [
        str(name)
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    quoted = ('"' + name.replace('"', '""') + '"' for name in names)
    return sum(
        int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in quoted
    )


def _stop_after(seconds: float, connection: sqlite3.Connection) -> float:
    """Interrupt what runs on the connection after so many seconds; the moment of that."""
    stop_at = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > stop_at, OPERATIONS_BETWEEN_LOOKS)
    return stop_at


def _may_read(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
    allowed = action in READING and not _is_denied_function(action, second)
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _may_make(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
    """All but other files; VACUUM INTO, which would write one, attaches it first."""
    denied = action in REACHING_FILES or _is_denied_function(action, second)
    return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK


def _is_denied_function(action: int, name: str | None) -> bool:
    return action == sqlite3.SQLITE_FUNCTION and (name or "").lower() in DENIED_FUNCTIONS
