"""Checks: a conversation with tools has its calls and results in an order that can happen."""

import codecs
import json

import pytest

from tests.data.reading import read_conversations
from tunesmith.data.faults import FaultyData
from tunesmith.data.read import check, scan
from tunesmith.data.rows import Conversation, Message, ToolCall

USER, ANSWER = Message("user", "q"), Message("assistant", "a")
CALL = Message("assistant", "", tool_calls=(ToolCall("f", {}, id="c1"), ToolCall("g", {}, id="c2")))
PLAIN_CALL = Message("assistant", "", tool_calls=(ToolCall("f", {}),))


def result(call=None):
    return Message("tool", "", tool_call_id=call)


def codes(*messages, tools=()):
    return [p.code for p in check(Conversation(messages, "f", 1, tools=tools))]


@pytest.mark.parametrize(
    "messages",
    [
        (USER, CALL, result("c1"), result("c2"), ANSWER, USER, ANSWER),
        (USER, CALL, result("c2"), CALL, result("c1"), ANSWER),
        (USER, PLAIN_CALL, result(), ANSWER),
        (USER, PLAIN_CALL, result("any"), ANSWER),
        (USER, CALL),
        (Message("system", ""), USER, ANSWER),
        (USER, ANSWER, result(), ANSWER),  # a call that the content holds as text
    ],
)
def test_conversations_that_can_happen_are_sound(messages):
    assert codes(*messages) == []


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ((result(), ANSWER), "tool_first"),
        ((USER, result("c1"), ANSWER), "result_without_call"),
        ((USER, CALL, result("c3"), ANSWER), "result_without_call"),
        ((USER, CALL, USER, ANSWER), "call_without_result"),
        ((USER, PLAIN_CALL, ANSWER), "call_without_result"),
        ((USER, Message("assistant", "")), "empty"),
        ((Message("user", " "), ANSWER), "empty"),
        (
            (USER, Message("assistant", "", tool_calls=(ToolCall("f", {"\ud83d": 1}),))),
            "wrong_type",
        ),
        ((USER, Message("assistant", "a", thinking="\ud83d")), "wrong_type"),
    ],
)
def test_what_cannot_happen_is_told(messages, code):
    assert code in codes(*messages)


def test_half_a_character_in_a_tool_is_told():
    assert codes(USER, ANSWER, tools=({"function": {"name": "\ud83d"}},)) == ["wrong_type"]


CHAT = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
PAIR = {"prompt": "q", "completion": "a"}
MESSAGES = (Message("user", "q"), Message("assistant", "a"))


def only_fault(path, **options):
    with pytest.raises(FaultyData) as caught:
        read_conversations(path, **options)
    (fault,) = caught.value.faults
    return fault


def chat(*pairs, **extra):
    messages = [{"role": role, "content": content} for role, content in pairs]
    return {"messages": messages, **extra}


@pytest.mark.parametrize("row", [CHAT, PAIR])
def test_format_is_recognised(write, row):
    path = write(row, row)
    reading = scan(path)
    assert reading.format == ("chat" if row is CHAT else "prompt-completion")
    assert [c.messages for c in reading.conversations] == [MESSAGES, MESSAGES]
    assert [(c.file, c.line) for c in reading.conversations] == [(str(path), 1), (str(path), 2)]
    assert (reading.rows, reading.faults, reading.notes) == (2, (), ())


def test_texts_of_prompt_completion_are_the_messages_they_stand_for(write):
    sides = {"prompt": [CHAT["messages"][0]], "completion": [CHAT["messages"][1]]}
    text, messages = read_conversations(write(PAIR, sides))
    assert text.messages == messages.messages == MESSAGES
    assert text.completion_from == messages.completion_from == 1


def test_only_answers_of_the_completion_are_supervised(write):
    prompt = [*CHAT["messages"], {"role": "user", "content": "p"}]
    (row,) = read_conversations(write({"prompt": prompt, "completion": "b"}))
    assert row.supervised == (3,)
    (row,) = read_conversations(write(chat(*[("user", "q"), ("assistant", "a")] * 2)))
    assert row.supervised == (1, 3)


def test_weight_zero_leaves_an_answer_out(write):
    row = chat(*[("user", "q"), ("assistant", "a")] * 2)
    row["messages"][1]["weight"] = 0
    row["messages"][3]["weight"] = 0.5
    (read,) = read_conversations(write(row))
    assert read.supervised == (3,)
    assert [m.weight for m in read.messages] == [1.0, 0.0, 1.0, 0.5]


def test_columns_can_be_mapped(write):
    path = write({"Q": "q", "A": "a"})
    columns = {"prompt": "Q", "completion": "A"}
    (row,) = read_conversations(path, columns=columns)
    assert row.messages == MESSAGES
    fault = only_fault(path)
    assert fault.code == "unknown_format"
    assert "--data.map prompt=Q --data.map completion=A" in fault.remedy


def test_a_mapped_column_may_have_the_name_of_another_of_ours(write):
    path = write({"completion": "q", "prompt": "a"})
    (row,) = read_conversations(path, columns={"prompt": "completion", "completion": "prompt"})
    assert row.messages == MESSAGES


@pytest.mark.parametrize(
    ("columns", "format", "told", "remedy"),
    [
        ({"ansr": "completion"}, "auto", "no format has", "Did you mean --data.map answer="),
        ({"zz": "completion"}, "auto", "no format has", "the file has prompt, completion."),
        ({"prompt": "q"}, "auto", "no row has the column `q`", "Name one that is there."),
        ({"completion": "Complet"}, "auto", "(found: prompt, completion)", "=completion?"),
        ({"choices": "prompt"}, "prompt-completion", "prompt-completion does not have", "OURS="),
        ({"a": "prompt", "reply": "completion"}, "prompt-completion", "both mean", "Give one"),
        ({"a": "prompt", "reply": "completion"}, "auto", "(found: prompt, compl", "Without that"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused_with_the_columns(
    write, columns, format, told, remedy
):
    fault = only_fault(write(PAIR), columns=columns, format=format)
    assert fault.line == 1
    assert fault.code in ("unknown_mapping", "absent_column", "unknown_format")
    assert told in fault.message
    assert remedy in fault.remedy


def test_a_mapped_column_that_a_row_lacks_is_told_by_its_own_name(write):
    path = write({"Q": "q", "A": "a"}, {"Q": "q", "completion": "other"})
    fault = only_fault(path, columns={"prompt": "Q", "completion": "A"})
    assert str(fault) == (
        f'{path}:2: "A", which is mapped to "completion", is missing (found: Q, completion). '
        "Add it."
    )
    path = write({"question": "q", "A": "a"}, {"question": "q", "answer": "other"})
    assert only_fault(path, columns={"response": "A"}).line == 2  # a synonym does not step in


def test_one_column_may_be_mapped_to_two_of_ours(write):
    (row,) = read_conversations(write({"t": "x"}), columns={"prompt": "t", "completion": "t"})
    assert [m.content for m in row.messages] == ["x", "x"]


def test_missing_column_names_the_nearest_and_the_flag(write):
    path = write(PAIR, PAIR, {"prompt": "q", "Answer": "a", "source": "s"})
    fault = only_fault(path)
    assert str(fault) == (
        f'{path}:3: "completion" is missing (found: prompt, Answer, source). '
        "Add it, or map it with --data.map completion=Answer."
    )


def test_rows_of_two_formats_need_a_choice(write):
    path = write(PAIR | CHAT)
    assert only_fault(path).code == "ambiguous_format"
    (row,) = read_conversations(path, format="chat")
    assert row.completion_from is None
    assert only_fault(path, format="csv").code == "unknown_format"


def test_byte_order_mark_blank_lines_and_crlf_are_accepted_and_inner_blanks_counted(write):
    line = json.dumps(PAIR).encode()
    path = write(codecs.BOM_UTF8 + line + b"\r", b"", b"  ", line, b"", b"")
    reading = scan(path)
    assert [row.line for row in reading.conversations] == [1, 4]
    assert reading.rows == 2
    (note,) = reading.notes
    assert (note.code, note.count, note.lines) == ("blank_line", 2, (2, 3))


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (b'{"prompt": "a", "completion": }', "broken_json", "column 31"),
        (b'{"prompt": "a"', "broken_json", "column 15"),
        (b'{"prompt": "a", "prompt": "b", "completion": "c"}', "broken_json", "twice: prompt"),
        (b'{"n": ' + b"[" * 100_000, "broken_json", "not valid JSON"),
        (b"[1]", "not_an_object", "a list"),
        (b"12", "not_an_object", "a number"),
        (b"null", "not_an_object", "null"),
        ('{"prompt": "é"}'.encode("latin-1"), "not_utf8", "byte 13"),
    ],
)
def test_line_that_is_no_object_is_told_with_its_place(write, line, code, said):
    fault = only_fault(write(PAIR, line))
    assert (fault.code, fault.line) == (code, 2)
    assert said in fault.message


def test_file_that_cannot_be_read_is_one_fault_of_the_file(write, tmp_path):
    (tmp_path / "rows").mkdir()
    paths = {
        "missing_file": tmp_path / "none.jsonl",
        "no_files": tmp_path / "rows",
        "unknown_file_kind": write("a row", name="rows.doc"),
        "empty_file": write(b"", b" ", name="empty.jsonl"),
        "broken_file": write(PAIR, name="rows.jsonl.gz"),
    }
    for code, path in paths.items():
        fault = only_fault(path)
        assert (fault.code, fault.line, fault.file) == (code, None, str(path))
        assert fault.remedy


def test_missing_file_names_the_data_files_beside_it(write, tmp_path):
    write(PAIR, name="train.jsonl")
    assert (
        f"Did you mean {tmp_path / 'train.jsonl'}?" in only_fault(tmp_path / "trian.jsonl").remedy
    )
    assert f"Files in {tmp_path}: train.jsonl. " in only_fault(tmp_path / "x.csv").remedy


def test_a_file_that_is_missing_here_names_those_beside_it(write, tmp_path, monkeypatch):
    write(PAIR, name="train.jsonl")
    monkeypatch.chdir(tmp_path)
    fault = only_fault("x.csv")
    assert str(fault).startswith("x.csv: does not exist. Files beside it: train.jsonl. Paths are")


@pytest.mark.parametrize(
    ("row", "code", "said"),
    [
        (chat(("wizard", "q"), ("assistant", "a")), "unknown_role", "wizard"),
        (chat(("user", "q"), ("system", "s"), ("assistant", "a")), "system_not_first", "2"),
        (chat(("assistant", "a"), ("user", "q")), "assistant_first", "1"),
        (chat(("system", "s"), ("assistant", "a")), "assistant_first", "2"),
        (chat(("user", "q"), ("user", "p"), ("assistant", "a")), "same_role_twice", "1 and 2"),
        (chat(("user", "q")), "no_answer", "no assistant"),
        (chat(("user", " \n"), ("assistant", "a")), "empty", "message 1 (user)"),
        (chat(("user", "q"), ("assistant", "")), "empty", "message 2 (assistant)"),
        (chat(("user", "\ud83d"), ("assistant", "a")), "wrong_type", "surrogate"),
        (chat(("user", None), ("assistant", "a")), "wrong_type", "null"),
        (chat(("user", ["q"]), ("assistant", "a")), "not_text", "part 1"),
        (chat(("user", [{"type": "image_url"}]), ("assistant", "a")), "not_text", "image_url"),
        (CHAT | {"images": ["a.png"]}, "not_text", '"images" holds images'),
        (chat((1, "q"), ("assistant", "a")), "wrong_type", "a number"),
        (CHAT | {"tools": [{}]}, "wrong_type", "tool 1"),
        ({"messages": []}, "empty", "empty list"),
        ({"messages": "q"}, "wrong_type", "text"),
        ({"messages": ["q"]}, "wrong_type", "text"),
        ({"messages": [{"role": "user", "text": "q"}]}, "missing_keys", "found: role, text"),
        ({"prompt": 3, "completion": "a"}, "wrong_type", "a number"),
        ({"prompt": "q", "completion": None}, "empty", "null"),
        ({"prompt": "", "completion": "a"}, "empty", "message 1"),
        ({"prompt": CHAT["messages"], "completion": "a"}, "same_role_twice", "2 and 3"),
        ({"prompt": "q", "completion": [CHAT["messages"][0]]}, "same_role_twice", "1 and 2"),
    ],
)
def test_faulty_row_is_told_with_line_kind_and_remedy(write, row, code, said):
    good = PAIR if "prompt" in row else CHAT
    line = json.dumps(row)
    reading = scan(write(good, line, good))
    fault = next(fault for fault in reading.faults if fault.code == code)
    assert fault.line == 2
    assert said in fault.message
    assert fault.remedy
    assert [c.line for c in reading.conversations] == [1, 3]


@pytest.mark.parametrize("weight", [-1, "1", True, "NaN", "Infinity"])
def test_wrong_weight_is_refused(write, weight):
    line = json.dumps(chat(("user", "q"), ("assistant", "a")))
    shown = weight if weight in ("NaN", "Infinity") else json.dumps(weight)
    fault = only_fault(write(line.replace('"a"', f'"a", "weight": {shown}')))
    assert fault.code == "wrong_weight"


def test_row_whose_answers_all_have_weight_zero_is_refused(write):
    line = json.dumps(CHAT).replace('"a"', '"a", "weight": 0')
    assert only_fault(write(line)).code == "nothing_supervised"


def test_what_is_not_used_is_noted_with_its_count(write):
    rows = [PAIR | {"id": 1}, PAIR, PAIR | {"id": 3}]
    (note,) = scan(write(*rows)).notes
    assert (note.code, note.count, note.lines) == ("unused_columns", 2, (1, 3))
    assert "id" in note.message
    line = json.dumps(CHAT).replace('"q"', '"q", "weight": 1, "mood": "x"')
    notes = scan(write(line)).notes
    assert {note.code for note in notes} == {"weight_without_effect", "unused_keys"}


def test_all_faults_are_raised_at_once(write):
    path = write(PAIR, "{", {"prompt": "q"}, {"prompt": "q", "completion": ""}, PAIR)
    with pytest.raises(FaultyData) as caught:
        read_conversations(path)
    assert [fault.line for fault in caught.value.faults] == [2, 3, 4]
    for line in (2, 3, 4):
        assert f"{path}:{line}: " in str(caught.value)
