"""Inputs of a file: which column asks, what is set aside, and every fault in its place."""

import json

import pytest

from tunesmith.data.faults import FaultyData
from tunesmith.data.inputs import read_inputs
from tunesmith.data.rows import Message

USER = Message("user", "hi")
TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
SHARED = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
CALL = json.dumps({"name": "f", "arguments": {}})


def read(path):
    inputs, notes = read_inputs(path)
    return [(each.messages, each.line, each.reference) for each in inputs], {n.code for n in notes}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "hi"},
        {"question": "hi"},
        {"input": "hi"},
        {"instruction": "hi"},
        {"messages": TALK[:1]},
        {"prompt": TALK[:1]},
    ],
    ids=json.dumps,
)
def test_one_column_asks(write, row):
    assert read(write(row)) == ([((USER,), 1, None)], set())


def test_a_text_file_asks_on_each_line(write):
    file = write(b"\xef\xbb\xbfhi", "", "  안녕 ", name="inputs.txt")
    assert read(file)[0] == [((USER,), 1, None), ((Message("user", "안녕"),), 3, None)]


def test_the_answer_of_a_training_row_is_set_aside(write):
    rows = [{"prompt": "hi", "completion": "hello"}, {"question": "hi", "answer": "hello"}]
    found, codes = read(write(*rows, {"messages": TALK}))
    assert found == [((USER,), line, "hello") for line in (1, 2, 3)]
    assert codes == {"answer_set_aside"}


def test_what_is_not_used_is_noted(write):
    inputs, notes = read_inputs(write({"prompt": "hi", "id": 3}, "", {"prompt": "hi"}))
    assert len(inputs) == 2
    assert {n.code: n.lines for n in notes} == {"unused_columns": (1,), "blank_line": (2,)}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"id": 3}, "missing_column"),
        ({"instruction": "sum up", "input": "a text"}, "ambiguous_columns"),
        ({"instruction": "sum up", "output": [3]}, "wrong_type"),
        ({"prompt": "hi", "messages": TALK[:1]}, "ambiguous_columns"),
        ({"prompt": 3}, "wrong_type"),
        ({"prompt": " "}, "empty"),
        ({"messages": []}, "empty"),
        ({"messages": [{"role": "nobody", "content": "hi"}]}, "unknown_role"),
        ({"messages": [{"role": "system", "content": "hi"}]}, "assistant_first"),
        ({"messages": [*TALK, *TALK[1:]]}, "same_role_twice"),
        ({"prompt": "hi", "tools": [{}]}, "tools"),
        ({"conversations": SHARED, "tools": [{"name": "f"}]}, "tools"),
        ({"conversations": [SHARED[0], {"from": "function_call", "value": CALL}]}, "tools"),
        ({"messages": [*TALK[:1], {"role": "tool", "content": "3"}]}, "tools"),
        ("{}}", "broken_json"),
        (b"{\xff", "broken_json"),
    ],
    ids=str,
)
def test_a_row_that_cannot_be_asked_is_a_fault_in_its_place(write, row, code):
    with pytest.raises(FaultyData) as refused:
        read_inputs(write({"prompt": "hi"}, row))
    codes = {fault.code for fault in refused.value.faults}
    assert codes == ({"not_utf8"} if isinstance(row, bytes) else {code})
    assert {fault.line for fault in refused.value.faults} == {2}


def test_all_faults_are_told_at_once(write):
    with pytest.raises(FaultyData) as refused:
        read_inputs(write({"prompt": ""}, {"prompt": "hi"}, {"id": 1}))
    assert [fault.line for fault in refused.value.faults] == [1, 3]


def test_a_file_without_inputs_is_a_fault(write, tmp_path):
    for name, text in (("a.txt", ""), ("a.jsonl", ""), ("a.doc", "hi")):
        with pytest.raises(FaultyData):
            read_inputs(write(text, name=name))
    with pytest.raises(FaultyData, match=r"known: .*\.jsonl.*\.txt"):
        read_inputs(tmp_path / "a.doc")
    with pytest.raises(FaultyData, match=r"b\.txt: does not exist"):
        read_inputs(tmp_path / "b.txt")


def test_a_line_of_text_in_another_encoding_is_a_fault(write):
    with pytest.raises(FaultyData, match=r"inputs\.txt:2: byte 1 of the line is not UTF-8"):
        read_inputs(write("hi", "안녕".encode("cp949"), name="inputs.txt"))


@pytest.mark.parametrize(
    ("row", "asked", "reference"),
    [
        (
            {"instruction": "sum up", "input": "a text", "output": "text"},
            ["sum up\na text"],
            "text",
        ),
        ({"query": "q", "response": "a", "history": [["q0", "a0"]]}, ["q0", "a0", "q"], "a"),
        ({"conversations": [{"from": "human", "value": "q"}]}, ["q"], None),
        ({"conversation": [{"human": "q", "assistant": "a"}]}, ["q"], "a"),
        ({"query": "q", "choices": ["a", "b"], "gold": 1}, ["q"], "b"),
    ],
)
def test_rows_of_every_layout_ask_what_comes_before_their_answer(write, row, asked, reference):
    (read,), notes = read_inputs(write(row))
    assert [message.content for message in read.messages] == asked
    assert read.reference == reference
    assert ("answer_set_aside" in {note.code for note in notes}) == (reference is not None)


def test_inputs_are_read_from_tables_and_folders(write, tmp_path):
    (tmp_path / "in").mkdir()
    write("prompt,id", "one,1", "two,2", name="in/a.csv")
    write("prompt,id", "three,1", name="in/b.csv")
    inputs, notes = read_inputs(tmp_path / "in")
    assert [each.text for each in inputs] == ["one", "two", "three"]
    assert [(each.file[-5:], each.line) for each in inputs] == [
        ("a.csv", 2),
        ("a.csv", 3),
        ("b.csv", 2),
    ]
    assert {note.code for note in notes} == {"folder", "unused_columns"}


def test_lines_of_text_in_another_encoding_are_inputs(write):
    inputs, notes = read_inputs(write("안녕하세요 여러분".encode("cp949"), name="inputs.txt"))
    assert [each.text for each in inputs] == ["안녕하세요 여러분"]
    assert [note.code for note in notes] == ["encoding"]


def test_a_system_prompt_and_a_history_in_columns_of_their_own_are_asked_too(write):
    rows = [{"system": "s", "messages": TALK[:1]}, {"system": "s", "prompt": "hi"}]
    history = {"question": "hi", "history": [["q", "a"]]}
    found, codes = read(write(*rows, history))
    assert [[m.content for m in messages] for messages, *_ in found] == [
        ["s", "hi"],
        ["s", "hi"],
        ["q", "a", "hi"],
    ]
    assert codes == set()


def test_headings_of_a_spreadsheet_ask(write):
    file = write("질문,답변,번호", "hi,hello,1", name="in.csv")
    assert read(file) == ([((USER,), 2, "hello")], {"answer_set_aside", "unused_columns"})
    assert read(write("고객 문의", "hi", name="in.csv")) == ([((USER,), 2, None)], set())
    with pytest.raises(FaultyData, match='Name the one that is "prompt"'):
        read(write("질문,고객", "hi,hello", name="in.csv"))


def test_json_lines_in_a_text_file_are_rows(write):
    assert read(write({"prompt": "hi"}, name="inputs.txt")) == ([((USER,), 1, None)], set())
