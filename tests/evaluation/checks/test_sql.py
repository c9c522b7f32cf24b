"""sql: results are compared, and a query can neither write, leave its tables, nor run on."""

import sqlite3
import time

import pytest

from tunesmith.config.checks import SqlSettings
from tunesmith.config.faults import validate
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.check import Case
from tunesmith.evaluation.checks.sql import (
    QueryFailed,
    is_ordered,
    sql_check,
    statements_in,
    tables_of_file,
    tables_of_script,
)

SCRIPT = """
CREATE TABLE city (name TEXT, people INTEGER, area REAL);
INSERT INTO city VALUES ('Seoul', 9, 605.2), ('Busan', 3, 770.1), ('Jeju', 1, 1850.0),
('X', 3, NULL);
"""
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def check(**settings):
    return sql_check(SqlSettings(**({"script": SCRIPT} | settings)))


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("SELECT name FROM city", "SELECT name FROM city", 1),
        ("select c.name as n from city c order by people desc", "SELECT name FROM city", 1),
        ("SELECT name FROM city;", "SELECT name FROM city", 1),
        ("```sql\nSELECT name FROM city\n```", "SELECT name FROM city", 1),
        ("SELECT name FROM city WHERE people > 1", "SELECT name FROM city", 0),
        ("SELECT people, name FROM city", "SELECT name, people FROM city", 0),
        ("SELECT people FROM city", "SELECT DISTINCT people FROM city", 0),
        ("SELECT name FROM city ORDER BY area", "SELECT name FROM city ORDER BY people, name", 0),
        ("SELECT name FROM city ORDER BY 1", "SELECT name FROM city ORDER BY name", 1),
        ("SELECT 9.0", "SELECT people FROM city WHERE name = 'Seoul'", 1),
        ("SELECT 0.1 + 0.2", "SELECT 0.3", 1),
        ("SELECT 0.30001", "SELECT 0.3", 0),
        ("SELECT 10000000001", "SELECT 10000000002", 0),
        ("SELECT 3111111111.0", "SELECT 3111111111", 1),
        ("SELECT 3111111111", "SELECT 3111111111.0", 1),
        ("SELECT 3111111111.0", "SELECT 3111111111.0000005", 1),
        ("SELECT 3111211111.0", "SELECT 3111111111", 0),
        (
            "SELECT total(people * 1234567891) FROM city",
            "SELECT sum(people * 1234567891) FROM city",
            1,
        ),
        ("SELECT 1e12 UNION ALL SELECT 1234567891", "SELECT 1234567891.0 UNION ALL SELECT 1e12", 1),
        ("SELECT 0.5 UNION ALL SELECT 10000000001", "SELECT 0.5 UNION ALL SELECT 10000000002", 0),
        ("SELECT 10000000001, 0.5", "SELECT 10000000002, 0.5", 0),
        ("SELECT NULL", "SELECT area FROM city WHERE name = 'X'", 1),
        ("SELECT '9'", "SELECT 9", 0),
        ("the query is SELECT 1", "SELECT 1", 0),
        ("SELECT nothing FROM city", "SELECT name FROM city", 0),
        ("SELECT 1; SELECT 1", "SELECT 1", 0),
        ("-- nothing", "SELECT 1", 0),
    ],
)
def test_results_are_compared_not_texts(answer, reference, same):
    assert check().score(answer, reference) == same


@pytest.mark.parametrize(
    ("query", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("select a from t order\nby a limit 3", True),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a)", False),
        ("SELECT row_number() OVER (PARTITION BY b ORDER BY (a)) FROM t", False),
        ("SELECT 'x ORDER BY y'", False),
        ("SELECT a FROM t -- ORDER BY a", False),
    ],
)
def test_only_the_whole_query_orders_its_rows(query, ordered):
    assert is_ordered(query) == ordered


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM city",
        "INSERT INTO city VALUES ('Y', 1, 1)",
        "UPDATE city SET people = 0",
        "DROP TABLE city",
        "CREATE TABLE other (a)",
        "PRAGMA query_only = OFF",
        "PRAGMA writable_schema = ON",
        "ATTACH DATABASE 'FILE' AS other",
        "VACUUM INTO 'FILE'",
        "SELECT load_extension('FILE')",
        "SELECT random()",
        "BEGIN",
        "WITH x AS (SELECT 1) DELETE FROM city",
    ],
)
def test_an_answer_can_only_read(statement, tmp_path):
    tables = tables_of_script(SCRIPT)
    before = tables.run("SELECT * FROM city", seconds=5, max_rows=10)
    with pytest.raises(QueryFailed):
        tables.run(statement.replace("FILE", str(tmp_path / "other.db")), seconds=5, max_rows=10)
    assert list(tmp_path.iterdir()) == []
    assert tables.run("SELECT * FROM city", seconds=5, max_rows=10) == before


@pytest.mark.parametrize("made_of", ["script", "file"])
def test_no_statement_opens_the_way_for_another(made_of, tmp_path):
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as made:
        made.executescript(SCRIPT)
    made.close()
    tables = tables_of_script(SCRIPT) if made_of == "script" else tables_of_file(path)
    for statement in (
        "PRAGMA query_only = OFF",
        "CREATE TEMP TABLE other (a)",
        "DELETE FROM city",
        "INSERT INTO city VALUES ('Y', 1, 1) RETURNING name",
    ):
        with pytest.raises(QueryFailed, match="authoriz"):
            tables.run(statement, seconds=5, max_rows=10)
    assert tables.run("SELECT count(*) FROM city", seconds=5, max_rows=10) == [(4,)]


def test_an_endless_query_ends_in_its_time_and_fails():
    start = time.monotonic()
    assert check(seconds=0.2).score(ENDLESS, "SELECT 1") == 0
    assert time.monotonic() - start < 5
    with pytest.raises(QueryFailed, match=r"more than 0\.2 s"):
        tables_of_script(SCRIPT).run(ENDLESS, seconds=0.2, max_rows=10)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT * FROM city a, city b, city c", "more than 10 rows"),
        ("SELECT hex(zeroblob(900000))", "too big"),
        ("SELECT " + "1 + " * 10000 + "1", "."),
    ],
)
def test_a_result_or_query_too_large_fails(query, why):
    with pytest.raises(QueryFailed, match=why):
        tables_of_script(SCRIPT).run(query, seconds=5, max_rows=10)


def test_after_a_failure_the_next_query_is_answered():
    built = check(seconds=0.1)
    assert built.score(ENDLESS, "SELECT 1") == 0
    assert built.score("SELECT 1", "SELECT 1") == 1


def test_a_database_file_is_read_and_stays_as_it_was(tmp_path):
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as made:
        made.executescript(SCRIPT)
    made.close()
    before = path.read_bytes()
    built = check(script=None, database=str(path))
    assert built.score("SELECT count(*) FROM city", "SELECT 4") == 1
    assert built.score("DROP TABLE city", "SELECT 4") == 0
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.db"]


def test_a_database_with_a_write_ahead_log_is_read_whole(tmp_path):
    path = tmp_path / "a.db"
    made = sqlite3.connect(path)
    made.execute("PRAGMA journal_mode = WAL")
    made.executescript(SCRIPT)
    assert tables_of_file(path).rows == 4
    made.close()


def test_tables_may_come_from_each_question():
    built = check(script=None, from_question=True)
    asked = "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x; y'), ('z')\nHow many are there?"
    assert built.reference_fault("SELECT count(*) FROM t", asked) is None
    assert built.score("SELECT 2", "SELECT count(*) FROM t", asked) == 1
    assert "hold no rows" in built.reference_fault("SELECT a FROM t", "CREATE TABLE t (a)")
    assert "no CREATE TABLE" in built.reference_fault("SELECT a FROM t", "How many?")
    assert "cannot be made" in built.reference_fault("SELECT 1", "CREATE TABLE t (a")


@pytest.mark.parametrize("statement", ["VACUUM INTO 'FILE'", "ATTACH 'FILE' AS o"])
def test_a_question_cannot_reach_a_file(tmp_path, statement):
    """What is a text for us is a comment for SQLite, and the statement behind it is run."""
    path = tmp_path / "out.db"
    hidden = statement.replace("FILE", str(path))
    asked = f"CREATE TABLE t (a); INSERT INTO t VALUES (1 --'\n); {hidden} --')"
    (_, taken) = statements_in(asked)
    assert hidden in taken
    built = check(script=None, from_question=True)
    assert "authoriz" in built.reference_fault("SELECT 1", asked)
    assert not path.exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "CREATE TABLE t (a INT, b DECIMAL(3, 2)) How many?",
            ["CREATE TABLE t (a INT, b DECIMAL(3, 2))"],
        ),
        (
            "create table a (x); CREATE TABLE b (y)\n\nHow?",
            ["create table a (x)", "CREATE TABLE b (y)"],
        ),
        (
            "INSERT INTO t VALUES (')'), (2)\n, (3) Who (x)?",
            ["INSERT INTO t VALUES (')'), (2)\n, (3)"],
        ),
        ("INSERT INTO t (a, b) VALUES (1, 2), then", ["INSERT INTO t (a, b) VALUES (1, 2)"]),
        ("CREATE TABLE t (a) WITHOUT ROWID. Who?", ["CREATE TABLE t (a) WITHOUT ROWID"]),
        ("CREATE TABLE t (a", []),
        ("CREATE TABLE t. How many (all)?", []),
        ("no SQL", []),
    ],
)
def test_statements_are_found_among_words(text, found):
    assert list(statements_in(text)) == found


def test_references_are_run_before_anything_is_generated():
    assert "the reference query fails: no such column: x" in check().reference_fault(
        "SELECT x FROM city"
    )
    assert "empty" in check().reference_fault(" ")
    assert check().reference_fault("SELECT name FROM city") is None


def test_figures_tell_what_runs_and_which_references_say_nothing():
    cases = [Case("SELECT 1", "SELECT 1"), Case("no", "SELECT name FROM city WHERE people > 99")]
    assert check().aggregate(cases) == {"valid": 0.5, "references_without_rows": 1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"script": "CREATE TABLE ("}, "The SQL script cannot be used"),
        ({"script": "nowhere.sql"}, r"The SQL script nowhere\.sql cannot be used"),
        ({"script": None, "database": "nowhere.db"}, r"nowhere\.db is not there"),
    ],
)
def test_tables_that_cannot_be_had_are_a_config_error(settings, message):
    with pytest.raises(ConfigError, match=message):
        check(**settings)


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "a.db"
    path.write_text("no database at all, but text that is long enough to be one" * 20)
    with pytest.raises(ConfigError, match=r"a\.db cannot be read"):
        check(script=None, database=str(path))


@pytest.mark.parametrize("values", [{}, {"script": "a b", "from_question": True}])
def test_tables_come_from_one_place(values):
    with pytest.raises(ConfigError, match="one of database, script and from_question"):
        validate(SqlSettings, values, source="a.yaml")
