"""Rows that are lists: their cells are columns by their place, and which is what is asked."""

import json

import pytest

from tests.data.files.reading import read
from tunesmith.data.read import scan

ROWS = [["how is the weather", "weather"], ["book a table", "restaurant", 3]]
MAP = {"prompt": "0", "completion": "1"}


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("inside", [None, "train"])
def test_lists_of_a_document_are_rows_of_numbered_columns(tmp_path, indent, inside):
    document = ROWS if inside is None else {"version": 1, inside: ROWS}
    found = read(tmp_path / "a.json", json.dumps(document, indent=indent))
    assert found.faults == []
    assert found.rows == [
        {"0": "how is the weather", "1": "weather"},
        {"0": "book a table", "1": "restaurant", "2": 3},
    ]


def test_lists_on_lines_are_rows_too(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    reading = scan(path, columns=MAP)
    assert (reading.format, reading.faults) == ("prompt-completion", ())
    assert reading.reason == "every row has 0 as prompt, 1 as completion"
    said = [[m.content for m in c.messages] for c in reading.conversations]
    assert said == [row[:2] for row in ROWS]
    (note,) = reading.notes
    assert note.message == "columns not used: 2"
    (fault,) = scan(path).faults
    assert (fault.code, fault.line) == ("unknown_format", 1)
    assert '(the first: "how is the weather", "weather")' in fault.message
    assert fault.remedy.endswith(" --data.map prompt=0 --data.map completion=1.")


def test_a_list_among_objects_is_a_fault_that_says_what_it_is(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"prompt": "q", "completion": "a"}, ["q", "a"], [{"role": "user", "content": "q"}]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    reading = scan(path)
    assert [(f.code, f.line) for f in reading.faults] == [("not_an_object", n) for n in (2, 3)]
    assert all("this is a list." in fault.message for fault in reading.faults)
    assert '{"messages": [...]}' in reading.faults[1].remedy


def test_an_object_among_lists_is_a_fault_that_names_its_columns(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in [*ROWS, {"prompt": "q", "0": "x"}]))
    (fault,) = scan(path, columns=MAP).faults
    assert fault.line == 3
    assert '"1", which is mapped to "completion", is missing (found: prompt, 0).' in fault.message


@pytest.mark.parametrize("value", [[], ["alone"], [1, 2], [None, True], "text", 3])
def test_what_has_no_two_cells_with_a_text_is_no_row(tmp_path, value):
    found = read(tmp_path / "a.jsonl", f'{{"a": 1}}\n{json.dumps(value)}\n')
    assert found.faults == [("not_an_object", 2)]
