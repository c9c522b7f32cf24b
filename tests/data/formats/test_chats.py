"""Messages: every field of OpenAI's chat rows is read, and what is wrong in one is told."""

import json
import math

import pytest

from tunesmith.data.faults import RowNotes
from tunesmith.data.formats.chats import parse_messages
from tunesmith.data.rows import Message, ToolCall

ASKED = {"role": "user", "content": "q"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": "é"}'}}


def parsed(*messages):
    into = RowNotes()
    return parse_messages(list(messages), into, column="messages"), into


def problems_of(message):
    _, into = parsed(ASKED, message)
    return [(problem.code, problem.message) for problem in into.problems]


def answer(**more):
    return {"role": "assistant", "content": "a", **more}


def deep(levels):
    value = 1
    for _ in range(levels):
        value = {"x": [value]}
    return value


def test_every_field_of_a_message_is_read():
    rows = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "q"}, {"text": " é"}], "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm"},
        {"role": "tool", "content": "3", "tool_call_id": "c1", "name": "f"},
        answer(weight=0.5, thinking="so", name=None, tool_calls=None),
    ]
    messages, into = parsed(*rows)
    assert messages == [
        Message("system", "be kind"),
        Message("user", "q é", name="Ann"),
        Message("assistant", "", thinking="hm", tool_calls=(ToolCall("f", {"x": "é"}, id="c1"),)),
        Message("tool", "3", name="f", tool_call_id="c1"),
        Message("assistant", "a", 0.5, thinking="so"),
    ]
    assert (into.problems, into.notes) == ([], [])


@pytest.mark.parametrize(
    "call",
    [
        CALL,
        {"function": {"name": "f", "arguments": {"x": "é"}}, "id": "c1"},
        {"name": "f", "arguments": {"x": "é"}, "id": "c1"},
    ],
)
def test_a_call_is_the_same_however_it_is_written(call):
    (message,), _ = parsed(answer(tool_calls=[call]))
    assert message.tool_calls == (ToolCall("f", {"x": "é"}, id="c1"),)
    (message,), _ = parsed(answer(tool_calls=json.dumps([call])))
    assert message.tool_calls == (ToolCall("f", {"x": "é"}, id="c1"),)


def test_calls_of_the_older_layout_are_read():
    messages, into = parsed(
        {"role": "assistant", "content": None, "function_call": CALL["function"]},
        {"role": "function", "name": "f", "content": "3"},
    )
    assert messages[0].tool_calls == (ToolCall("f", {"x": "é"}),)
    assert messages[1] == Message("tool", "3", name="f")
    assert into.problems == []


@pytest.mark.parametrize("arguments", [None, "", "{}", {}])
def test_a_call_may_have_no_arguments(arguments):
    (message,), _ = parsed(answer(tool_calls=[{"name": "f", "arguments": arguments}]))
    assert message.tool_calls == (ToolCall("f", {}),)


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        (answer(content=None), "wrong_type", "null"),
        ({"role": "assistant"}, "missing_keys", "content"),
        (answer(content=["a"]), "not_text", "part 1"),
        (answer(content=[{"type": "image_url", "image_url": {}}]), "not_text", "image_url"),
        (answer(content=[{"type": "text", "text": 3}]), "not_text", "part 1"),
        (answer(tool_calls=[1]), "wrong_type", "call 1"),
        (answer(tool_calls=3), "wrong_type", "a number"),
        (answer(tool_calls="f(x)"), "wrong_type", "text"),
        (answer(tool_calls=[{"name": "f", "arguments": "[1]"}]), "wrong_arguments", "a list"),
        (answer(tool_calls=[{"name": "f", "arguments": "{"}]), "wrong_arguments", "text"),
        (answer(tool_calls=[{"name": "f", "arguments": '{"x": [NaN]}'}]), "wrong_type", "nan"),
        (answer(tool_calls=[{"name": "f", "arguments": {"x": -math.inf}}]), "wrong_type", "-inf"),
        (answer(tool_calls=[{"name": "f", "arguments": deep(40)}]), "wrong_type", "64 levels"),
        (answer(tool_calls=[{"arguments": {}}]), "wrong_type", "call 1"),
        (answer(thinking=3), "wrong_type", "a number"),
        (answer(reasoning_content=[1]), "wrong_type", "a list"),
        (answer(name={}), "wrong_type", "an object"),
        ({"role": "tool", "content": "3", "tool_call_id": 3}, "wrong_type", "a number"),
        ({"role": "user", "content": "q", "tool_calls": [CALL]}, "wrong_role", "user"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(message, code, said):
    (told,) = problems_of(message)
    assert told[0] == code
    assert said in told[1]
    assert 'message 2 of "messages"' in told[1]


def test_arguments_of_many_levels_are_no_problem_up_to_the_limit():
    assert problems_of(answer(tool_calls=[{"name": "f", "arguments": deep(31)}])) == []
    assert problems_of(answer(tool_calls=[{"name": "f", "arguments": deep(32)}])) != []


@pytest.mark.parametrize(("theirs", "ours"), [("human", "user"), ("bot", "assistant")])
def test_names_of_roles_that_others_use_are_read_and_told(theirs, ours):
    parsed = RowNotes()
    messages = [{"role": theirs, "content": "x", **({"weight": 2} if theirs == "bot" else {})}]
    (message,) = parse_messages(messages * 1, parsed, column="messages")
    assert (message.role, message.weight) == (ours, 2.0 if theirs == "bot" else 1.0)
    (note,) = parsed.notes
    assert note.message == f"the role `{theirs}` is read as `{ours}`"
    assert parsed.problems == []


@pytest.mark.parametrize(
    "message", [{}, {"content": None}, {"content": 3}, {"content": "", "name": 1}]
)
def test_a_fault_of_an_answer_shows_how_an_answer_is_written(message):
    parsed = RowNotes()
    parse_messages([{"role": "assistant", **message}], parsed, column="messages")
    (problem,) = parsed.problems
    assert '{"role": "assistant", "content": "..."}' in problem.remedy


@pytest.mark.parametrize(
    ("given", "weight"),
    [
        ({"train": False}, 0),
        ({"train": True}, 1),
        ({"train": None}, 1),
        ({"train": True, "weight": 2}, 2),
    ],
)
def test_an_answer_says_by_train_too_whether_it_is_trained(given, weight):
    parsed = RowNotes()
    said = {"role": "assistant", "content": "x", **given}
    (message,) = parse_messages([said], parsed, column="messages")
    assert (message.weight, parsed.problems, parsed.notes) == (weight, [], [])


def test_what_is_neither_true_nor_false_is_a_fault():
    parsed = RowNotes()
    said = {"role": "assistant", "content": "x", "train": "no"}
    parse_messages([said], parsed, column="messages")
    assert [problem.code for problem in parsed.problems] == ["wrong_weight"]
