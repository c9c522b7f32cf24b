"""sql: does the answer, run on SQLite, give the rows that the reference gives?"""

import functools
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tunesmith.config.checks import SqlSettings
from tunesmith.core.errors import ConfigError
from tunesmith.core.numbers import pluralize
from tunesmith.evaluation.checks.check import Case, Check, Figures

NAME = r"(?:\"[^\"]+\"|`[^`]+`|\[[^\]]+\]|[\w.]+)\s*"
CREATE = re.compile(rf"\bCREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{NAME}", re.IGNORECASE)
INSERT = re.compile(rf"\bINSERT\s+INTO\s+{NAME}(\([^()]*\)\s*)?VALUES\s*", re.IGNORECASE)
OPTIONS = re.compile(r"\s*(?:,?\s*(?:WITHOUT\s+ROWID|STRICT)\b)*", re.IGNORECASE)
BETWEEN = re.compile(r"\s*,\s*(?=\()")
QUOTES = "'\"`"


def statements_in(text: str) -> Iterator[str]:
    """Each statement, from its first word to its last bracket; the text need not end it by `;`."""
    place = 0
    while (found := _next(text, place)) is not None:
        place = found.end()
        end = _group_end(text, place)
        if end is None:
            continue
        if found.re is INSERT:
            while (comma := BETWEEN.match(text, end)) is not None:
                further = _group_end(text, comma.end())
                if further is None:
                    break
                end = further
        else:
            options = OPTIONS.match(text, end)
            end = options.end() if options and options[0].strip() else end
        yield text[found.start() : end]
        place = end


def _next(text: str, place: int) -> re.Match[str] | None:
    found = [match for each in (CREATE, INSERT) if (match := each.search(text, place))]
    return min(found, key=lambda match: match.start(), default=None)


def _group_end(text: str, start: int) -> int | None:
    """The place after the bracket that closes the one at ``start``; None where none does."""
    if not text.startswith("(", start):
        return None
    depth, quote = 0, ""
    for place in range(start, len(text)):
        letter = text[place]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in QUOTES:
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
            if depth == 0:
                return place + 1
    return None


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

    def run(self, query: str, *, seconds: float, max_rows: int) -> Result:
        """The rows of one SELECT; raises QueryFailed for anything else, and past the limits."""
        stop_at = _stop_after(seconds, self._connection)
        try:
            with closing(self._connection.cursor()) as cursor:
                cursor.execute(query)
                if cursor.description is None:
                    raise QueryFailed("it is not a query that gives rows")
                rows: Result = cursor.fetchmany(max_rows + 1)
        except sqlite3.Error as error:
            is_late = time.monotonic() > stop_at
            why = f"it ran for more than {seconds:g} s" if is_late else str(error)
            raise QueryFailed(why) from None
        except (ValueError, sqlite3.Warning, OverflowError, MemoryError) as error:
            raise QueryFailed(str(error)) from None
        if len(rows) > max_rows:
            raise QueryFailed(f"it gives more than {pluralize(max_rows, 'row')}")
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


REMEDY = "Fix `script` or `database` of the sql check."
FENCE = re.compile(r"```(?:sql|sqlite)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
NESTED = re.compile(r"\([^()]*\)")
DIGITS = 9  # of a real number that count
KEPT_TABLES = 256


def sql_check(settings: SqlSettings) -> Check:
    """1.0 where both queries give the same rows, in the same order if the reference orders them.

    Names of columns do not count. An answer in a ```sql block counts by what is in it. Raises
    ConfigError for a script or a database that cannot be used.
    """
    queries = _Queries(_tables(settings), settings.seconds, settings.rows)
    return Check(rule=queries.score, needs="text", fault=queries.fault, aggregate=queries.figures)


@dataclass(frozen=True, slots=True)
class _Queries:
    """The tables of a case, and how far a query on them may go."""

    tables: Callable[[Case], Tables]
    seconds: float
    max_rows: int

    def score(self, case: Case) -> float:
        """1.0 for the same result; 0.0 otherwise, also where a query fails."""
        given, wanted = self._result(case.answer, case), self._result(case.wanted, case)
        if given is None or wanted is None:
            return 0.0
        return float(same_result(given, wanted, ordered=is_ordered(case.wanted)))

    def fault(self, case: Case) -> str | None:
        """A fault where the reference or its tables cannot be used, or the tables are empty."""
        try:
            if not self.tables(case).rows:
                return "its tables hold no rows, so that any two queries give the same"
        except (QueryFailed, sqlite3.Error) as error:
            return f"the tables of its question cannot be made: {error}"
        try:
            self._run(case.wanted, case)
        except QueryFailed as error:
            return f"the reference query fails: {error}"
        return None

    def figures(self, cases: Sequence[Case]) -> Figures:
        """The share of answers that run, and how many references give no rows."""
        answers = [self._result(case.answer, case) for case in cases]
        wanted = [self._result(case.wanted, case) for case in cases]
        return {
            "valid": sum(result is not None for result in answers) / len(cases),
            "references_without_rows": sum(not result for result in wanted),
        }

    def _run(self, text: str, case: Case) -> Result:
        found = self.tables(case)
        return found.run(_query(text), seconds=self.seconds, max_rows=self.max_rows)

    def _result(self, text: str, case: Case) -> Result | None:
        try:
            return self._run(text, case)
        except (QueryFailed, sqlite3.Error):
            return None


def same_result(given: Result, wanted: Result, *, ordered: bool) -> bool:
    """Equality of results: 1 is 1.0, real numbers agree in their leading digits, null is null.

    Every digit of an integer counts, unless the other result has no integer in its column.
    """
    a, b = _comparable(given, wanted), _comparable(wanted, given)
    return a == b if ordered else Counter(a) == Counter(b)


def is_ordered(query: str) -> bool:
    """Whether the whole query, not only a part in brackets, says ORDER BY."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", " ", query, flags=re.DOTALL)
    while (shorter := NESTED.sub(" ", bare)) != bare:
        bare = shorter
    return re.search(r"\border\s+by\b", bare, re.IGNORECASE) is not None


def _comparable(result: Result, other: Result) -> Result:
    exact = {place for row in other for place, cell in enumerate(row) if isinstance(cell, int)}

    def comparable(place: int, cell: object) -> object:
        is_real = isinstance(cell, float) or (isinstance(cell, int) and place not in exact)
        return float(f"{cell:.{DIGITS}g}") if is_real else cell

    return [tuple(comparable(*each) for each in enumerate(row)) for row in result]


def _query(text: str) -> str:
    """The one block of SQL in the text, else the text itself."""
    blocks = FENCE.findall(text)
    return str(blocks[0]) if len(blocks) == 1 else text


def _tables(settings: SqlSettings) -> Callable[[Case], Tables]:
    """The tables of a case: the same for all, or those of its question."""
    if settings.from_question:
        of_script = functools.lru_cache(KEPT_TABLES)(tables_of_script)

        def of_question(case: Case) -> Tables:
            statements = list(statements_in(case.question or ""))
            if not statements:
                raise QueryFailed("it has no CREATE TABLE statement")
            return of_script(";\n".join(statements))

        return of_question
    made = _made_once(settings)
    return lambda case: made  # noqa: ARG005 (the same for every case)


def _made_once(settings: SqlSettings) -> Tables:
    if settings.database is not None:
        path = Path(settings.database)
        if not path.is_file():
            raise ConfigError(f"The database {path} is not there.", remedy=REMEDY)
        try:
            return tables_of_file(path)
        except sqlite3.Error as error:
            raise ConfigError(
                f"The database {path} cannot be read: {error}.", remedy=REMEDY
            ) from None
    script = settings.script or ""
    is_file = " " not in script.strip()  # no statement is one word
    where = f"The SQL script {script}" if is_file else "The SQL script"
    try:
        return tables_of_script(Path(script).read_text("utf-8") if is_file else script)
    except (sqlite3.Error, ValueError, OSError) as error:
        raise ConfigError(f"{where} cannot be used: {error}.", remedy=REMEDY) from None
