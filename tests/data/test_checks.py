"""Checks: a conversation with tools has its calls and results in an order that can happen."""

import pytest

from tunesmith.data.checks import check
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
