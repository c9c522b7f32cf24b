"""Calls of tools: found in an answer, and given as OpenAI's clients read them."""

import json
import re
from dataclasses import replace

import openai
import pytest

from tests.runs.tiny import TEMPLATE, talking_base
from tests.server.conftest import WITH_TOOLS, client_of
from tunesmith.data.rows import ToolCall
from tunesmith.generation.request import AnswerEnd, MadeToken
from tunesmith.server.answers import ServedAnswer
from tunesmith.server.chats import AskedChat, ChatPieces
from tunesmith.server.documents import chat_choice, chat_frame
from tunesmith.server.response_documents import ResponseFrame, ResponsePieces
from tunesmith.server.response_protocol import ResponseRequest, messages_of
from tunesmith.server.tools import ToolRules

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "서울"}}\n</tool_call>'
RULES = ToolRules([TOOL])
CITIES = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "서울"]}},
    "required": ["city"],
}
STRICT = {**CITIES, "additionalProperties": False}
OFFERED = [
    {"type": "function", "function": {"name": "weather", "parameters": STRICT}},
    {"type": "function", "function": {"name": "stop"}},
]


def named(name):
    return {"type": "function", "function": {"name": name}}


def with_parameters(schema):
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


def answered(text, reason="stop"):
    return ServedAnswer(text, [], reason)


def test_a_call_of_an_offered_tool_is_given_as_a_call():
    assert RULES.calls(answered(CALL)) == [ToolCall("weather", {"city": "서울"})]
    choice = chat_choice(0, answered(CALL), RULES, None)
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "서울"}
    assert choice["message"]["content"] is None
    assert re.fullmatch("[A-Za-z0-9]{9}", call["id"])  # as Mistral's templates want it


@pytest.mark.parametrize(
    "answer",
    [answered("It rains."), answered(CALL.replace("weather", "launch")), answered(CALL, "length")],
)
def test_what_is_no_call_stays_text(answer):
    assert ToolRules([TOOL]).calls(answer) == []
    assert ToolRules().calls(answered(CALL)) == []


@pytest.mark.parametrize(("text", "reason"), [(CALL, "tool_calls"), ("It rains.", "stop")])
def test_a_stream_with_tools_gives_the_answer_at_its_end(text, reason):
    pieces, answer, found = ChatPieces(chat_frame("m"), AskedChat(None, RULES)), ServedAnswer(), []
    for event in (MadeToken(5, text[:4]), MadeToken(6, text[4:]), AnswerEnd("stop")):
        answer.add(event)
        found += pieces.next(0, event, answer)
    said, end = (each["choices"][0] for each in found)
    if reason == "tool_calls":
        assert said["delta"]["tool_calls"][0]["index"] == 0
    else:
        assert said["delta"] == {"content": text}
    assert end["finish_reason"] == reason


def events_of(thinking, text):
    answer, found = ServedAnswer(), []
    for event in (
        MadeToken(4, "", thinking=thinking),
        MadeToken(5, text[:4]),
        MadeToken(6, text[4:]),
        AnswerEnd("stop"),
    ):
        answer.add(event)
        found.append((event, replace(answer)))
    return found


def test_what_is_said_beside_a_call_is_kept_and_what_is_thought_calls_nothing():
    events = events_of(CALL.replace("weather", "stop"), f"I look.\n{CALL}")
    message = chat_choice(0, events[-1][1], RULES, None)["message"]
    assert message["content"] == "I look."
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["weather"]
    pieces = ChatPieces(chat_frame("m"), AskedChat(None, RULES))
    found = [p["choices"][0] for event, so_far in events for p in pieces.next(0, event, so_far)]
    deltas = [choice["delta"] for choice in found]
    assert [list(delta) for delta in deltas] == [
        ["reasoning_content"],
        ["content"],
        ["tool_calls"],
        [],
    ]
    assert deltas[1]["content"] == "I look."
    assert found[-1]["finish_reason"] == "tool_calls"


def test_a_response_has_thinking_text_and_calls_as_items_whole_and_as_a_stream():
    chat = AskedChat(None, RULES)
    frame = ResponseFrame(ResponseRequest(model="m", input="x", store=False), chat)
    pieces = ResponsePieces(frame, lambda document: document)
    events = events_of("so", f"I look.\n{CALL}")
    streamed = [p for event, so_far in events for p in pieces.next(0, event, so_far)]
    kinds = ["reasoning", "message", "function_call"]
    done = [each["item"] for each in streamed if each["type"] == "response.output_item.done"]
    for items in (done, frame.output(events[-1][1])):
        assert [item["type"] for item in items] == kinds
        assert [item["content"][0]["text"] for item in items[:2]] == ["so", "I look."]
    assert [each["output_index"] for each in streamed] == sorted(
        each["output_index"] for each in streamed
    )
    (_, said) = messages_of([{"role": "user", "content": "x"}, *done])
    assert (said["reasoning_content"], said["content"]) == ("so", "I look.")
    assert len(said["tool_calls"]) == 1


def ask(client, model="caller", **options):
    asked = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 300, **options}
    return client.chat.completions.create(model=model, tools=OFFERED, **asked)


def test_a_template_that_writes_tools_is_given_them(caller):
    asked = {"model": "caller", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    counts = [
        caller.chat.completions.create(**asked, **more).usage.prompt_tokens
        for more in ({}, {"tools": [TOOL]}, {"tools": [TOOL], "tool_choice": "none"})
    ]
    assert counts[1] > counts[0] == counts[2]


NAMED = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize("stream", [False, True])
def test_a_named_function_is_called_once_with_arguments_of_its_schema(caller, stream):
    found = ask(caller, tool_choice=NAMED, n=2, temperature=1.5, seed=1, stream=stream)
    if stream:
        pieces = [choice for piece in found for choice in piece.choices]
        calls = [piece.delta.tool_calls for piece in pieces if piece.delta.tool_calls]
        reasons = [piece.finish_reason for piece in pieces if piece.finish_reason]
    else:
        calls = [choice.message.tool_calls for choice in found.choices]
        reasons = [choice.finish_reason for choice in found.choices]
    assert reasons == ["tool_calls"] * 2
    for (call,) in calls:
        assert call.function.name == "weather"
        assert json.loads(call.function.arguments)["city"] in ("Oslo", "서울")


def test_required_calls_are_some_and_one_where_they_must_not_be_parallel(caller):
    counts = set()
    for seed in range(4):
        options = {"tool_choice": "required", "temperature": 1.5, "seed": seed, "max_tokens": 200}
        one = ask(caller, parallel_tool_calls=False, **options).choices[0]
        assert len(one.message.tool_calls) == 1
        many = ask(caller, **options).choices[0]
        if many.finish_reason == "tool_calls":
            counts.add(len(many.message.tool_calls))
            assert {c.function.name for c in many.message.tool_calls} <= {"weather", "stop"}
    assert counts


def test_a_call_and_its_result_can_be_answered(caller):
    asked = ask(caller, tool_choice=NAMED, temperature=0).choices[0].message
    result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "rain"}
    messages = [{"role": "user", "content": "hi"}, asked.model_dump(exclude_none=True), result]
    answer = ask(caller, messages=messages, max_tokens=3, temperature=0)
    assert 1 <= answer.usage.completion_tokens <= 3


def test_parallel_calls_can_be_declined_where_no_call_is_forced():
    two = answered(f"{CALL}\n{CALL}")
    assert len(RULES.calls(two)) == 2
    assert len(ToolRules([TOOL], many=False).calls(two)) == 1


REFUSED = {
    "nobody": ({"tool_choice": {**NAMED, "function": {"name": "x"}}}, "No tool is called 'x'"),
    "a word": ({"tool_choice": "any"}, "must be none, auto, required or a function's name"),
    "a set": ({"tool_choice": {"type": "allowed_tools"}}, "must be none, auto, required"),
    "twice": ({"tools": [TOOL, TOOL]}, "Two tools are called 'weather'"),
    "a list": (
        {"tools": [with_parameters({"type": "array"})], "tool_choice": "required"},
        "no JSON Schema of an object",
    ),
    "no schema": (
        {"tools": [with_parameters({"properties": 5})], "tool_choice": "required"},
        "cannot be followed",
    ),
    "a name": (
        {"tools": [named('a"b')], "tool_choice": "required"},
        "needs a name of 1 to 64 letters",
    ),
    "a schema": ({"response_format": {"type": "json_object"}}, "cannot be asked for together"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_called_is_refused(caller, case):
    options, text = REFUSED[case]
    asked = {"messages": [{"role": "user", "content": "hi"}], "tools": OFFERED, **options}
    with pytest.raises(openai.BadRequestError, match=re.escape(text)):
        caller.chat.completions.create(model="caller", max_tokens=2, **asked)


def test_a_template_without_calls_forces_none(serving, tmp_path_factory):
    folder = talking_base(tmp_path_factory.mktemp("tools") / "base", WITH_TOOLS + TEMPLATE)
    with pytest.raises(openai.BadRequestError, match="No call can be forced of this model"):
        ask(client_of(serving(base=folder)), "base", tool_choice="required")
