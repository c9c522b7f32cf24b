"""Parquet and Arrow: nested rows as JSON has them, by number, a batch at a time."""

import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.files.reading import read
from tunesmith.data.files import arrow
from tunesmith.data.read import scan

TALK = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "a", "weight": 0.5, "tags": ["x", None]},
]
ROWS = [{"messages": TALK, "n": i} for i in range(1, 4)]


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli"])
def test_nested_rows_are_those_of_json(tmp_path, compression):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", compression=compression)
    found = read(tmp_path / "a.parquet")
    assert (found.rows, found.lines, found.faults) == (ROWS, [1, 2, 3], [])


def test_a_key_that_others_have_is_absent_where_it_is_null(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    reading = scan(tmp_path / "a.parquet")
    assert [message.weight for message in reading.conversations[0].messages] == [1.0, 0.5]
    assert [note.message for note in reading.notes if note.code == "unused_keys"] == [
        "keys of messages not used: tags"
    ]


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_what_the_library_datasets_saves_is_read(tmp_path, kind):
    table = pa.Table.from_pylist(ROWS)
    make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with make(str(tmp_path / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / "dataset_info.json").write_text("{}")
    assert read(tmp_path).rows == ROWS


def test_batches_do_not_change_rows(tmp_path, monkeypatch):
    rows = [{"prompt": f"q{i}", "completion": f"a{i}"} for i in range(1000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=70)
    whole = read(tmp_path / "a.parquet")
    assert whole.rows == rows
    monkeypatch.setattr(arrow, "ROWS_AT_ONCE", 13)
    assert read(tmp_path / "a.parquet") == whole


def test_a_damaged_page_is_told_at_its_row(tmp_path):
    rows = [{"prompt": f"{i}" * 50, "completion": f"a{i}"} for i in range(600)]
    pq.write_table(
        pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=100, compression="gzip"
    )
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    start = metadata.row_group(3).column(0).dictionary_page_offset or 0
    data[start : start + 400] = b"\xff" * 400
    found = read(tmp_path / "a.parquet", bytes(data))
    assert found.faults == [("broken_file", len(found.rows) + 1)]
    assert 0 < len(found.rows) <= 300


@pytest.mark.parametrize("cut", [5, 100, -4, -100])
def test_a_cut_file_is_a_fault(tmp_path, cut):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()[:cut]
    assert read(tmp_path / "a.parquet", data).faults == [("broken_file", 0)]
    assert read(tmp_path / "b.parquet", b"no parquet at all").faults == [("broken_file", 0)]


def test_values_that_json_has_not_are_texts_and_numbers(tmp_path):
    row = {"day": datetime.date(2020, 1, 2), "price": decimal.Decimal("1.5"), "raw": b"\x00"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").rows == [
        {"day": "2020-01-02", "price": 1.5, "raw": b"\x00"}
    ]
    (fault,) = scan(tmp_path / "a.parquet", columns={"prompt": "raw", "completion": "day"}).faults
    assert (fault.code, "bytes" in fault.message) == ("wrong_type", True)


def test_no_rows_are_a_fault(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").faults == [("empty_file", 0)]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_two_columns_of_one_name_are_a_fault_since_one_would_be_lost(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    table = pa.table([["q"], ["a"], ["b"]], names=["prompt", "completion", "completion"])
    if suffix == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    found = read(path)
    assert (found.rows, found.faults) == ([], [("no_header", 0)])


def test_a_column_of_nothing_but_nulls_makes_no_format(tmp_path):
    rows = [{"prompt": "q", "completion": "a", "messages": None}] * 2
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    reading = scan(tmp_path / "a.parquet")
    assert (reading.format, reading.faults) == ("prompt-completion", ())
