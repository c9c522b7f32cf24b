"""Chunks hold every record once, in order, and no more at once than is allowed."""

import gzip
import json
import os

import pytest

from tests.data.files.reading import read
from tunesmith.data.read import scan
from tunesmith.data.records import Size, characters_of, chunked, files_of, read_records
from tunesmith.data.rows import Record


def record(line, characters=1):
    return Record(line, {"text": "x" * characters})


def lines(chunks):
    return [[each.line for each in chunk] for chunk in chunks]


def test_chunks_are_full_but_for_the_last():
    records = iter([record(i) for i in range(7)])
    assert lines(chunked(records, Size(3, 1000))) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunked(iter(()), Size(3, 1000))) == []


def test_large_records_make_small_chunks():
    sizes = [10, 10, 90, 500, 10]
    records = iter([record(i, size) for i, size in enumerate(sizes)])
    assert lines(chunked(records, Size(100, 100))) == [[0, 1, 2], [3], [4]]


def test_what_is_not_asked_for_is_left():
    records = iter([record(i) for i in range(10)])
    assert len(next(chunked(records, Size(4, 1000)))) == 4
    assert next(records).line == 4


@pytest.mark.parametrize(
    "value",
    [
        {"messages": [{"role": "user", "content": "hello"}, {"role": "x", "content": "y" * 100}]},
        {"a": None, "b": 3, "c": [1.5, True, "text"]},
        "text",
    ],
)
def test_the_characters_of_a_value_are_about_those_of_its_json(value):
    size = len(json.dumps(value))
    assert 0.4 * size <= characters_of(value) <= 1.5 * size


def test_a_value_of_any_depth_has_a_size():
    deep: object = "x"
    for _ in range(5000):
        deep = [deep]
    assert characters_of(deep) > 0


def fill(folder, **files):
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def row(i):
    return json.dumps({"prompt": f"q{i}", "completion": f"a{i}"}) + "\n"


def test_files_of_the_working_folder_have_their_names(tmp_path, monkeypatch):
    fill(tmp_path, a_jsonl=row(1), sub__b_jsonl=row(2))
    monkeypatch.chdir(tmp_path)
    assert [each.file for each in scan(".").conversations] == ["./a.jsonl", "./sub/b.jsonl"]


def test_rows_of_all_files_in_order_with_their_places(tmp_path):
    fill(
        tmp_path,
        b_jsonl=row(2) + row(3),
        a_jsonl=row(1),
        sub__c_jsonl_gz=gzip.compress(row(4).encode()),
    )
    reading = scan(tmp_path)
    assert [c.messages[0].content for c in reading.conversations] == ["q1", "q2", "q3", "q4"]
    names = ["a.jsonl", "b.jsonl", "b.jsonl", "sub/c.jsonl.gz"]
    assert [c.file for c in reading.conversations] == [str(tmp_path / name) for name in names]
    assert [c.line for c in reading.conversations] == [1, 1, 2, 1]
    assert (reading.format, reading.rows, reading.faults) == ("prompt-completion", 4, ())
    assert files_of(tmp_path) == [tmp_path / n for n in dict.fromkeys(names)]


def test_a_fault_names_its_file(tmp_path):
    fill(tmp_path, a_jsonl=row(1), b_jsonl=row(2) + "{\n")
    (fault,) = scan(tmp_path).faults
    assert (fault.file, fault.line) == (str(tmp_path / "b.jsonl"), 2)


def test_texts_count_where_there_are_no_rows_and_a_readme_never(tmp_path):
    fill(tmp_path, a_txt="one", b_txt="two", README_md="about", LICENSE_txt="mine")
    found = read(tmp_path)
    assert [r["text"] for r in found.rows] == ["one", "two"]
    fill(tmp_path, c_jsonl=row(1))
    assert read(tmp_path).rows == [json.loads(row(1))]
    (told,) = (r.notes[0].message for r in read_records(tmp_path) if r.notes)
    assert "left out 4 others: LICENSE.txt, README.md, a.txt" in told


@pytest.mark.parametrize(
    ("files", "codes"),
    [
        ({}, ["no_files"]),
        ({"a_pdf": "x", "hidden__b_doc": "x"}, ["no_files"]),
        ({"a_jsonl": row(1), "b_csv": "prompt,completion\n1,2\n"}, ["several_kinds"]),
        ({"train_jsonl": row(1), "test_jsonl": row(2)}, ["several_parts"]),
        ({"rows_jsonl": row(1), "test_jsonl": row(2)}, ["several_parts"]),
        (
            {"data__validation-00000-of-00001_jsonl": row(1), "data__train-0_jsonl": row(2)},
            ["several_parts"],
        ),
        ({"train-1_jsonl": row(1), "train-2_jsonl": row(2)}, []),
        ({"train_jsonl": row(1), "more_jsonl": row(2)}, []),
        ({"contest_jsonl": row(1), "latest_jsonl": row(2)}, []),
    ],
)
def test_what_must_not_be_mixed_is_asked_about(tmp_path, files, codes):
    assert [code for code, _ in read(fill(tmp_path, **files)).faults] == codes


def test_a_part_names_the_split(tmp_path):
    fill(tmp_path, train_jsonl=row(1), dev_jsonl=row(2), test_jsonl=row(3))
    for part, i in (("train", 1), ("validation", 2), ("dev", 2), ("test", 3)):
        assert read(tmp_path, part=part).rows == [json.loads(row(i))]
    assert read(tmp_path, part="other").faults == [("unknown_part", 0)]


def test_hidden_files_are_not_read(tmp_path):
    fill(tmp_path, a_jsonl=row(1))
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "b.jsonl").write_text(row(2))
    (tmp_path / ".c.jsonl").write_text(row(3))
    assert len(read(tmp_path).rows) == 1


def test_a_file_whose_name_is_no_text_is_refused_by_name(tmp_path):
    fill(tmp_path, a_jsonl=row(1))
    try:
        (tmp_path / os.fsdecode(b"\xff.jsonl")).write_text(row(2))
    except OSError:
        pytest.skip("this file system takes no such name")
    (fault,) = scan(tmp_path).faults
    assert fault.code == "file_name"
    assert r"'\udcff.jsonl'" in fault.message


def test_a_folder_that_may_not_be_read_is_told_with_its_reason(tmp_path, monkeypatch):
    (tmp_path / "secret").mkdir()
    (tmp_path / "rows.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    scandir = os.scandir

    def guarded(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    (fault,) = scan(tmp_path).faults
    assert fault.code == "unreadable"
    assert "secret: Permission denied" in fault.message


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_json_in_a_file_of_text_is_read_as_what_it_is(tmp_path, name):
    row = {"prompt": "q", "completion": "a"}
    for text in (json.dumps(row), json.dumps([row]), json.dumps([row], indent=2)):
        assert read(tmp_path / name, text).rows == [row]
    lists = [["q", "a"], ["p", "b"]]
    text = "".join(f"{json.dumps(each)}\n" for each in lists)
    assert [list(values.values()) for values in read(tmp_path / name, text).rows] == lists
    for text in ("[1] A note.", "{curly} words", '["So it is", he said.]', "{", "[link](x.md)"):
        assert read(tmp_path / name, text).rows == [{"text": text}]
