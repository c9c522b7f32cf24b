"""Rows in memory become one file, whatever they come in; what JSON cannot hold is refused."""

import datetime
import json
from pathlib import Path

import pytest

from tunesmith.api.sources import as_source
from tunesmith.core.errors import DataError

ROWS = [
    {"prompt": "say 1", "completion": "7", "weight": 1.5},
    {"prompt": "가 \U0001f600", "completion": None, "weight": 2.0},
]


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_paths_and_sources_pass_through(home):
    assert as_source(None) is None
    assert as_source(0.1) == 0.1
    assert as_source(Path("a.jsonl")) == "a.jsonl"
    assert as_source(["a.jsonl", Path("b.csv")]) == ["a.jsonl", "b.csv"]
    weighted = [{"path": "a.jsonl", "weight": 2}]
    assert as_source(weighted) == weighted
    assert not home.exists()


def tables():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    pyarrow = pytest.importorskip("pyarrow")
    datasets = pytest.importorskip("datasets")
    frame = pandas.DataFrame(ROWS)
    return {
        "list": ROWS,
        "generator": (row for row in ROWS),
        "pandas": frame,
        "pandas, another index": frame.set_index(pandas.Index([7, 9])),
        "polars": polars.DataFrame(ROWS),
        "arrow": pyarrow.Table.from_pylist(ROWS),
        "dataset": datasets.Dataset.from_list(ROWS),
    }


def test_equal_rows_give_one_file_whatever_they_come_in(home):
    found = {name: as_source(table) for name, table in tables().items()}
    assert set(found.values()) == {found["list"]}
    assert lines(found["list"]) == ROWS
    (file,) = (home / "rows").iterdir()
    assert str(file) == found["list"]


def test_missing_values_of_tables_are_null_and_dates_are_texts(home):
    pandas = pytest.importorskip("pandas")
    day = datetime.datetime(2026, 1, 2, 3, 4)
    frame = pandas.DataFrame({"x": [1.0, float("nan")], "day": [day, pandas.NaT]})
    for table in (frame, frame.to_dict("records")):
        assert lines(as_source(table)) == [
            {"x": 1.0, "day": "2026-01-02T03:04:00"},
            {"x": None, "day": None},
        ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"a": 1}, {"a": {"b": b"x"}}], r'Row 2, column "a.b": bytes b\'x\' cannot be written'),
        ([{"a": float("inf")}], r'Row 1, column "a": float inf'),
        ([{"a": object()}], r'Row 1, column "a": object'),
        ([{"a": 1}, "text"], "Row 2 is str"),
        ([], "There are no rows"),
        (7.0j, "cannot be read from complex"),
        ({"a": [1]}, "cannot be read from dict"),
    ],
)
def test_what_cannot_be_rows_is_refused_and_leaves_nothing(home, rows, said):
    with pytest.raises(DataError, match=said):
        as_source(rows)
    assert not list(home.rglob("*.jsonl"))
    assert not list(home.rglob("*.part"))


def test_what_no_row_gave_is_absent_inside_objects_of_tables_as_in_parquet_files(home):
    datasets = pytest.importorskip("datasets")
    calls = [{"name": "f", "arguments": {"city": "Oslo"}}, {"name": "g", "arguments": {"id": "1"}}]
    schema = {"name": datasets.Value("string")}
    schema["arguments"] = {key: datasets.Value("string") for key in ("city", "id")}
    features = datasets.Features({"calls": [schema], "note": datasets.Value("string")})
    rows = [{"calls": [call], "note": None} for call in calls]
    made = datasets.Dataset.from_list(rows, features=features)
    assert lines(as_source(made)) == rows
    assert lines(as_source(made.data.table)) == rows
    null = [{"arguments": {"city": None}}]
    assert lines(as_source(null)) == null  # what is written in Python is meant
