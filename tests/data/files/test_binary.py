"""Parquet and Arrow: nested rows as JSON has them, by number, a batch at a time."""

import datetime
import decimal
import gzip
import importlib.util
import shutil
import sys
import types
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.files.reading import read
from tests.data.files.workbooks import write_workbook
from tunesmith.data.files import binary
from tunesmith.data.read import scan
from tunesmith.data.records import exists, files_of

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
    with make(str(tmp_path / "cache-0123456789abcdef.arrow"), table.schema) as writer:
        writer.write_table(table)  # what `map` computed there
    assert read(tmp_path).rows == ROWS
    (tmp_path / "dataset_info.json").unlink()
    (tmp_path / "state.json").unlink()
    assert read(tmp_path).rows == ROWS * 2


def test_batches_do_not_change_rows(tmp_path, monkeypatch):
    rows = [{"prompt": f"q{i}", "completion": f"a{i}"} for i in range(1000)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=70)
    whole = read(tmp_path / "a.parquet")
    assert whole.rows == rows
    monkeypatch.setattr(binary, "ROWS_AT_ONCE", 13)
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
    long, short = decimal.Decimal("12345678901234567.00"), decimal.Decimal("19.90")
    row = {"day": datetime.date(2020, 1, 2), "long": long, "call": {"x": short}, "raw": b"\x00"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    (found,) = read(tmp_path / "a.parquet").rows
    assert (found["day"], found["long"]) == ("2020-01-02", "12345678901234567.00")
    assert (found["call"], found["raw"]) == ({"x": 19.9}, b"\x00")
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


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the library; what it was asked is in ``asked``."""
    asked = []

    def load_dataset(*names, **options):
        asked.append((*names, options))
        if names[0] == "no/such":
            raise ConnectionError("Couldn't reach the hub.\nTry again.")
        rows = [{"prompt": "q", "completion": {"a": None, "b": 1}}]
        return rows if names[0] != "empty/set" else []

    module = types.SimpleNamespace(load_dataset=load_dataset, asked=asked)
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: module)
    return module


def test_rows_of_the_part_that_was_asked_for(hub):
    assert read("hf:owner/name").rows == [{"prompt": "q", "completion": {"b": 1}}]
    read("hf:owner/name:main", part="test")
    assert hub.asked == [
        ("owner/name", None, {"split": "train", "streaming": True}),
        ("owner/name", "main", {"split": "test", "streaming": True}),
    ]


def test_what_fails_there_is_a_fault_of_the_data(hub):
    assert read("hf:no/such").faults == [("hub", 0)]
    assert read("hf:empty/set").faults == [("empty_file", 0)]


def test_without_the_library_the_remedy_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert read("hf:owner/name").faults == [("not_installed", 0)]


def test_a_workbook_without_the_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    path = write_workbook(tmp_path / "a.xlsx", {"one": {"A1": "prompt", "A2": "a"}})
    assert read(path).faults == [("not_installed", 0)]


def test_a_path_that_does_not_exist_is_never_asked_there(hub, tmp_path):
    assert read(tmp_path / "owner" / "name").faults == [("missing_file", 0)]
    assert hub.asked == []
    assert not exists("owner/name")
    assert exists("hf:owner/name")
    assert files_of("hf:owner/name") == []


def test_a_folder_of_the_library_is_read_as_the_hub_would_be(tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "train.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    found = read(f"hf:{tmp_path}")
    assert (found.rows, found.faults) == ([{"prompt": "q", "completion": "a"}], [])


MESSY = Path(__file__).parents[1] / "messy_tables"
HEADER = {"A1": "q", "B1": "a"}


def test_cells_are_text_as_the_workbook_shows_them(tmp_path):
    cells = HEADER | {"A2": "한글", "B2": 5, "A3": 3.25, "B3": True, "A4": "x"}
    found = read(write_workbook(tmp_path / "a.xlsx", {"one": cells}))
    assert found.rows == [{"q": "한글", "a": "5"}, {"q": "3.25", "a": "TRUE"}, {"q": "x", "a": ""}]
    assert (found.lines, found.faults) == ([2, 3, 4], [])


def test_rows_have_their_numbers_whatever_is_blank_above(tmp_path):
    cells = {"A3": "q", "B3": "a", "A4": "1", "B4": "2", "A7": "3", "B7": "4"}
    found = read(write_workbook(tmp_path / "a.xlsx", {"one": cells}))
    assert (found.lines, found.blank) == ([4, 7], [5, 6])


def test_of_several_sheets_one_is_asked_for_and_empty_ones_do_not_count(tmp_path):
    rows = HEADER | {"A2": "1", "B2": "2"}
    path = write_workbook(tmp_path / "a.xlsx", {"one": rows, "two": rows | {"A3": "3"}})
    assert read(path).faults == [("several_parts", 0)]
    assert len(read(path, part="two").rows) == 2
    assert read(path, part="three").faults == [("unknown_part", 0)]
    assert len(read(write_workbook(tmp_path / "b.xlsx", {"one": rows, "two": {}})).rows) == 1


def test_a_workbook_is_known_whatever_it_is_called(tmp_path):
    expected = read(MESSY / "simple.xlsx")
    for name in ("a.csv", "a.bin", "a.xls"):
        shutil.copy(MESSY / "simple.xlsx", tmp_path / name)
        assert read(tmp_path / name) == expected
    packed = read(tmp_path / "a.xlsx.gz", gzip.compress((MESSY / "simple.xlsx").read_bytes()))
    assert packed == expected


def test_a_cell_far_away_ends_no_process(tmp_path):
    far = write_workbook(tmp_path / "a.xlsx", {"one": HEADER | {"XFD1048576": "x"}})
    found = read(far)
    assert (found.rows, found.faults) == ([], [("broken_file", 0)])


def test_damage_is_a_fault(tmp_path):
    for name in ("simple.xlsx", "simple.xls", "simple.ods"):
        whole = (MESSY / name).read_bytes()
        for cut in (10, len(whole) // 2, len(whole) - 30):
            found = read(tmp_path / name, whole[:cut])
            assert [code for code, _ in found.faults] == ["broken_file"], (name, cut)


def test_options_of_text_have_no_effect_and_this_is_told(tmp_path):
    assert read(MESSY / "simple.ods", encoding="cp949").notes == {"unused_option"}
