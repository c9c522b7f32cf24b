"""Calls of tools: found in an answer, and given as OpenAI's clients read them."""

import json

import pytest

from tests.runs.tiny import TEMPLATE, talking_base
from tests.server.conftest import client_of
from tunesmith.data.rows import ToolCall
from tunesmith.generation.request import AnswerEnd, MadeToken
from tunesmith.server.answers import ServedAnswer
from tunesmith.server.chats import ChatPieces, calls_of
from tunesmith.server.documents import chat_choice, chat_frame

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "서울"}}\n</tool_call>'
WITH_TOOLS = (
    "{% if tools %}{{ '<|im_start|>tools\n' + (tools | tojson) + '<|im_end|>' }}{% endif %}"
)


def answered(text, reason="stop"):
    return ServedAnswer(text, [], reason)


def test_a_call_of_an_offered_tool_is_given_as_a_call():
    calls = calls_of(answered(CALL), [TOOL])
    assert calls == [ToolCall("weather", {"city": "서울"})]
    choice = chat_choice(0, answered(CALL), calls, None)
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "서울"}
    assert choice["message"]["content"] is None


@pytest.mark.parametrize(
    "answer",
    [answered("It rains."), answered(CALL.replace("weather", "launch")), answered(CALL, "length")],
)
def test_what_is_no_call_stays_text(answer):
    assert calls_of(answer, [TOOL]) == []
    assert calls_of(answered(CALL), ()) == []


@pytest.mark.parametrize(("text", "reason"), [(CALL, "tool_calls"), ("It rains.", "stop")])
def test_a_stream_with_tools_gives_the_answer_at_its_end(text, reason):
    pieces, answer, found = ChatPieces(chat_frame("m"), [TOOL], None), ServedAnswer(), []
    for event in (MadeToken(5, text[:4]), MadeToken(6, text[4:]), AnswerEnd("stop")):
        answer.add(event)
        found += pieces.next(0, event, answer)
    said, end = (each["choices"][0] for each in found)
    if reason == "tool_calls":
        assert said["delta"]["tool_calls"][0]["index"] == 0
    else:
        assert said["delta"] == {"content": text}
    assert end["finish_reason"] == reason


def test_a_template_that_writes_tools_is_given_them(serving, tmp_path_factory):
    folder = talking_base(tmp_path_factory.mktemp("tools") / "base", WITH_TOOLS + TEMPLATE)
    client = client_of(serving(base=folder))
    asked = {"model": "base", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    counts = [
        client.chat.completions.create(**asked, **more).usage.prompt_tokens
        for more in ({}, {"tools": [TOOL]}, {"tools": [TOOL], "tool_choice": "none"})
    ]
    assert counts[1] > counts[0] == counts[2]
