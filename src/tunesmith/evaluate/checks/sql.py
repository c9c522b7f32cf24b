"""sql: does the answer, run on SQLite, give the rows that the reference gives?"""

import functools
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.config.checks import SqlSettings
from tunesmith.errors import ConfigError
from tunesmith.evaluate.checks.protocol import Case, Check, Figures
from tunesmith.evaluate.checks.sql_in_text import statements_in
from tunesmith.evaluate.checks.sqlite_tables import (
    QueryFailed,
    Result,
    Tables,
    tables_of_file,
    tables_of_script,
)
from tunesmith.evaluate.checks.text import blank_reference

REMEDY = "Mend `script` or `database` of the sql check."
FENCE = re.compile(r"```(?:sql|sqlite)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
NESTED = re.compile(r"\([^()]*\)")
DIGITS = 9  # of a real number that count
KEPT_TABLES = 256


def sql_check(settings: SqlSettings) -> Check:
    """1.0 where both queries give the same rows, in the same order if the reference orders them.

    Names of columns do not count. An answer in a ```sql block counts by what stands in it. Raises
    ConfigError for a script or a database that cannot be used.
    """
    queries = _Queries(_tables(settings), settings.seconds, settings.rows)
    return Check(
        name=settings.name or settings.kind,
        rule=queries.score,
        fault=queries.fault,
        aggregate=queries.figures,
    )


@dataclass(frozen=True, slots=True)
class _Queries:
    """The tables of a case, and how far a query on them may go."""

    tables: Callable[[Case], Tables]
    seconds: float
    most_rows: int

    def score(self, case: Case) -> float:
        """1.0 for the same result; 0.0 otherwise, also where a query fails."""
        try:
            given, wanted = self._run(case.answer, case), self._run(case.reference or "", case)
        except (QueryFailed, sqlite3.Error):
            return 0.0
        return float(same_result(given, wanted, ordered=is_ordered(case.reference or "")))

    def fault(self, case: Case) -> str | None:
        """A fault where the reference or its tables cannot be used, or the tables are empty."""
        if (missing := blank_reference(case)) is not None:
            return missing
        try:
            if not self.tables(case).rows:
                return "its tables hold no rows, so that any two queries give the same"
        except (QueryFailed, sqlite3.Error) as error:
            return f"the tables of its question cannot be made: {error}"
        try:
            self._run(case.reference or "", case)
        except QueryFailed as error:
            return f"the reference query fails: {error}"
        return None

    def figures(self, cases: Sequence[Case]) -> Figures:
        """The share of answers that run, and how many references give no rows."""
        answers = [self._result(case.answer, case) for case in cases]
        wanted = [self._result(case.reference or "", case) for case in cases]
        return {
            "valid": sum(result is not None for result in answers) / len(cases),
            "references_without_rows": sum(not result for result in wanted),
        }

    def _run(self, text: str, case: Case) -> Result:
        found = self.tables(case)
        return found.run(_query(text), seconds=self.seconds, most_rows=self.most_rows)

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
