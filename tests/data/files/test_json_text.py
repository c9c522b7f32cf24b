"""JSON: lines and documents are told apart, and every fault stands at its line."""

import json
import tracemalloc

import pytest

from tests.data.files.reading import read
from tunesmith.data.files import json_document, text

ROWS = [{"prompt": f"q{i}", "completion": f'a {{[,]}} "{i}" é한'} for i in range(5)]
NESTED = [{"messages": [{"role": "user", "content": "q"}], "meta": {"n": [1, [2, {}]]}}] * 3


def lines_of(rows):
    return "\n".join(json.dumps(row) for row in rows)


@pytest.mark.parametrize("rows", [ROWS, NESTED, ROWS[:1]], ids=["flat", "nested", "one"])
@pytest.mark.parametrize("indent", [None, 0, 1, 4])
@pytest.mark.parametrize("suffix", ["json", "jsonl", "ndjson"])
def test_a_list_holds_the_rows_that_lines_hold(tmp_path, rows, indent, suffix):
    expected = read(tmp_path / "lines.jsonl", lines_of(rows))
    assert (expected.rows, expected.lines) == (rows, list(range(1, len(rows) + 1)))
    found = read(tmp_path / f"list.{suffix}", json.dumps(rows, indent=indent, ensure_ascii=False))
    assert (found.rows, found.faults) == (rows, [])
    inside = read(
        tmp_path / f"in.{suffix}", json.dumps({"version": 1, "data": rows}, indent=indent)
    )
    assert (inside.rows, inside.faults) == (rows, [])
    assert "list_in_document" in inside.notes


def test_rows_of_a_document_have_the_lines_where_they_begin(tmp_path):
    found = read(tmp_path / "a.json", json.dumps(ROWS, indent=2))
    assert found.lines == [2, 6, 10, 14, 18]
    one_a_line = "[\n" + ",\n".join(json.dumps(row) for row in ROWS) + "\n]"
    assert read(tmp_path / "b.json", one_a_line).lines == [2, 3, 4, 5, 6]


def test_rows_that_share_a_line_are_numbered_and_this_is_told(tmp_path):
    found = read(tmp_path / "a.json", json.dumps(ROWS))
    assert (found.lines, found.notes) == ([1, 2, 3, 4, 5], {"numbered_rows"})
    broken = json.dumps(ROWS).replace('"q3"', "q3")
    found = read(tmp_path / "a.json", broken)
    assert (found.lines, found.faults) == ([1, 2, 3], [("broken_json", 4)])


def test_a_single_object_is_a_row_and_not_a_document(tmp_path):
    for row in (NESTED[0], ROWS[0], {"choices": [["a"]], "query": "q"}):
        for indent in (None, 2):
            found = read(tmp_path / "a.json", json.dumps(row, indent=indent))
            assert (found.rows, found.faults) == ([row], [])


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("suffix", ["json", "jsonl", "ndjson"])
@pytest.mark.parametrize(
    "row",
    [
        ROWS[0],
        {"messages": [{"role": "user", "content": "q"}]},
        {"query": "q", "choices": ["a", "b"], "gold": 0},
        {"text": "long ago"},
    ],
    ids=["pair", "chat", "choices", "text"],
)
def test_a_row_may_have_lists_of_objects_beside_its_columns(tmp_path, row, suffix, indent):
    for whole in (row | {"sources": [{"title": "x"}]}, {"notes": [{"by": "x"}]} | row):
        found = read(tmp_path / f"a.{suffix}", json.dumps(whole, indent=indent))
        assert (found.rows, found.faults) == ([whole], [])


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", ["prompt", "data", "version"])
def test_a_key_given_twice_in_a_document_is_a_fault(tmp_path, name, indent):
    document = {"version": 1, "prompt": "p", "data": ROWS}
    if name == "prompt":
        del document["data"]
    text = json.dumps(document | {"again": document[name]}, indent=indent)
    found = read(tmp_path / "a.json", text.replace('"again"', f'"{name}"'))
    assert found.faults == [("broken_json", 1)]


def test_of_several_lists_one_is_asked_for(tmp_path):
    document = json.dumps({"train": ROWS, "name": "x", "test": ROWS[:2]}, indent=1)
    assert ("several_parts", 0) in read(tmp_path / "a.json", document).faults
    found = read(tmp_path / "a.json", document, part="test")
    assert (found.rows, found.faults) == (ROWS[:2], [])
    assert ("unknown_part", 0) in read(tmp_path / "a.json", document, part="dev").faults
    assert read(tmp_path / "a.jsonl", lines_of(ROWS), part="dev").notes == {"unused_option"}


@pytest.mark.parametrize(
    ("old", "new", "line", "code"),
    [
        ('"q2"', '"q2', 11, "broken_json"),
        ('"q2"', "q2", 11, "broken_json"),
        ('"q2",', '"q2"', 12, "broken_json"),
        ('"prompt": "q2",', '"prompt": "q2", "prompt": "p",', 10, "broken_json"),
        ('"q2"', "[" * 100_000, 10, "broken_json"),
        ("\n]", "", 21, "broken_json"),
        ("\n]", "\n] x", 22, "broken_json"),
    ],
)
def test_a_fault_in_a_document_stands_at_its_line(tmp_path, old, new, line, code):
    document = json.dumps(ROWS, indent=2)
    assert old in document
    found = read(tmp_path / "a.json", document.replace(old, new))
    assert found.faults == [(code, line)]


def test_elements_that_are_no_objects_are_faults_and_the_others_are_read(tmp_path):
    document = "[\n" + ",\n".join(['{"a": 1}', "[1]", "2", '"x"', "null", '{"a": 2}']) + "\n]"
    found = read(tmp_path / "a.json", document)
    assert found.faults == [("not_an_object", line) for line in (3, 4, 5, 6)]
    assert (found.rows, found.lines) == ([{"a": 1}, {"a": 2}], [2, 7])


def test_a_wrong_byte_in_a_document_costs_its_row(tmp_path):
    document = json.dumps(ROWS, indent=2).encode().replace(b"q2", b"q\xff2")
    found = read(tmp_path / "a.json", document)
    assert (found.faults, len(found.rows)) == ([("not_in_encoding", 10)], 4)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_other_encodings_of_unicode_are_read(tmp_path, encoding):
    for name, data in (("a.jsonl", lines_of(ROWS)), ("a.json", json.dumps(ROWS, indent=1))):
        assert read(tmp_path / name, data.encode(encoding)).rows == ROWS


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_what_is_read_does_not_depend_on_where_it_is_cut(tmp_path, monkeypatch, chunk):
    documents = {"a.json": json.dumps([*ROWS, {"n": 12345.5e10, "t": True}], indent=1)}
    documents["b.json"] = json.dumps({"x": 12, "rows": ROWS})
    documents["numbers.json"] = '[\n12345,\n-1.5e10,\n{"a": 1}\n]'
    document = json.dumps(ROWS, indent=1)
    for at in (10, 60, 150, 200, len(document) - 1):
        documents[f"cut{at}.json"] = document[:at]
        documents[f"turned{at}.json"] = f"{document[:at]}~{document[at:]}"
    documents["c.jsonl"] = lines_of(ROWS).replace("q3", "q\n3")
    documents["d.csv"] = 'q,a\n"é\n한",2\n3,"4"\n'
    whole = {name: read(tmp_path / name, data) for name, data in documents.items()}
    monkeypatch.setattr(text, "CHUNK_BYTES", chunk)
    for name in documents:
        assert read(tmp_path / name) == whole[name]


def test_a_huge_row_is_a_fault_and_memory_stays_small(tmp_path, monkeypatch):
    for module in (text, json_document):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 1 << 20)
    huge = json.dumps({"prompt": "a" * (24 << 20)})
    for name, data in (
        ("a.jsonl", f'{{"a": 1}}\n{huge}\n{{"a": 2}}\n'),
        ("a.json", f'[\n{{"a": 1}},\n{huge},\n{{"a": 2}}\n]'),
    ):
        (tmp_path / name).write_text(data)
        tracemalloc.start()
        found = read(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert [code for code, _ in found.faults] == ["row_too_large"]
        assert found.faults[0][1] == (2 if name == "a.jsonl" else 3)
        assert peak < 12 << 20, name
    assert read(tmp_path / "a.jsonl").rows == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("between", ["\n", "", "\n\n"])
@pytest.mark.parametrize("junk", ["junk", "}", ","])
def test_what_stands_behind_a_list_is_a_fault_in_its_line(tmp_path, between, junk):
    rows = [{"prompt": f"q{i}", "completion": "a"} for i in range(4)]
    found = read(tmp_path / "a.json", json.dumps(rows) + between + junk)
    assert found.rows == rows
    assert found.faults == [("broken_json", 1 + between.count("\n"))]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize("indent", [None, 1])
def test_columns_that_are_lists_are_rows(tmp_path, name, indent):
    columns = {"question": ["q", "r", "s"], "answer": ["a", "b", 3]}
    found = read(tmp_path / name, json.dumps(columns, indent=indent))
    assert found.rows == [
        {"question": "q", "answer": "a"},
        {"question": "r", "answer": "b"},
        {"question": "s", "answer": 3},
    ]
    assert (found.lines, found.notes) == ([1, 2, 3], {"columns_of_lists"})


@pytest.mark.parametrize(
    "row",
    [
        {"question": ["q", "r"], "answer": ["a"]},
        {"question": ["q"], "answer": "a"},
        {"choices": ["a", "b"]},
        {"query": "q", "choices": ["a", "b"], "gold": 0},
    ],
)
def test_other_objects_are_rows_themselves(tmp_path, row):
    assert read(tmp_path / "a.json", json.dumps(row)).rows == [row]
