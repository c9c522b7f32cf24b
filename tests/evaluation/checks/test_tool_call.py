"""tool_call: the wanted calls with their arguments, in whatever way a model writes them."""

import pytest

from tests.data.families import FAMILIES
from tunesmith.config.checks import ToolCallSettings, WantedCall
from tunesmith.data.rows import Conversation, Message, ToolCall
from tunesmith.evaluation.answers import rendered
from tunesmith.evaluation.checks.check import Case, score_cases
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.checks.written_calls import before_calls, calls_in

WEATHER = WantedCall(name="weather", arguments={"city": "Oslo", "days": 3})
WRITTEN = {
    "hermes and qwen": '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}'
    "\n</tool_call>",
    "llama 3": '{"name": "weather", "parameters": {"city": "Oslo", "days": 3}}',
    "mistral": '[{"name": "weather", "arguments": {"city": "Oslo", "days": 3}}]',
    "openai": '{"type": "function", "function": {"name": "weather", '
    '"arguments": "{\\"city\\": \\"Oslo\\", \\"days\\": 3}"}}',
    "qwen 3 coder": "<tool_call><function=weather><parameter=city>\nOslo\n</parameter>"
    "<parameter=days>\n3\n</parameter></function></tool_call>",
    "llama 4": '[weather(city="Oslo", days=3)]',
    "gemma": '```tool_code\nweather(city="Oslo", days=3)\n```',
    "apertus": '<|tools_prefix|>[{"weather": {"city": "Oslo", "days": 3}}]<|tools_suffix|>',
    "gpt-oss": "commentary to=functions.weather <|constrain|>json<|message|>"
    '{"city": "Oslo", "days": 3}',
    "ministral": '[TOOL_CALLS]weather[ARGS]{"city": "Oslo", "days": 3}',
    "gemma 4": '<|tool_call>call:weather{city:<|"|>Oslo<|"|>,days:3}<tool_call|>',
    "glm": "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n"
    "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>",
    "with words": 'Let me look. {"name": "weather", "arguments": {"days": 3.0, "city": " Oslo"}}',
}


def check(**settings):
    return build_checks([ToolCallSettings(**settings)])[0]


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_call_counts_in_every_way_in_which_models_write_it(text):
    assert check(calls=[WEATHER]).score(text) == 1.0
    assert check(calls=[]).score(text) == 0.0
    assert check().score(text, WRITTEN["hermes and qwen"]) == 1.0


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_what_is_said_in_front_of_a_call_is_told_from_it(text):
    words = "Let me look." if text.startswith("Let") else ""
    assert before_calls(text) == words
    assert before_calls(f"See [1].\n\n{text}") == f"See [1].\n\n{words}".strip()
    fenced = '```json\n{"name": "weather", "arguments": {}}\n```'
    assert before_calls(f"So: {fenced}") == "So:"


@pytest.mark.parametrize(
    "text",
    [
        "It rains in Oslo.",
        '{"name": "weather", "arguments": {"city": "Oslo"}}',
        '{"name": "weather", "arguments": {"city": "Oslo", "days": 3, "unit": "C"}}',
        '{"name": "weather", "arguments": {"city": "Oslo", "days": true}}',
        '{"name": "forecast", "arguments": {"city": "Oslo", "days": 3}}',
        WRITTEN["llama 3"] * 2,
        '{"name": "weather", "arguments": ',
    ],
)
def test_another_call_or_none_does_not_pass(text):
    assert check(calls=[WEATHER]).score(text) == 0.0


# Python's literals that are no arguments of a tool.
NO_JSON = ("f(x={1})", "f(x=...)", "f(x=b'a')", "f(x={['a']: 1})")


@pytest.mark.parametrize(
    "text",
    [
        "It rains in Oslo.",
        "[see below]",
        '{"city": "Oslo"}',
        "f(x) = x",
        "print('a')",
        "{",
        *NO_JSON,
    ],
)
def test_words_are_no_call(text):
    assert check(calls=[]).score(text) == 1.0


def test_a_parameter_that_is_a_text_by_its_schema_stays_one():
    made = "<function=pay><parameter=zip>94110</parameter><parameter=n>2</parameter></function>"
    kinds = {"zip": {"type": "string"}, "n": {"type": "integer"}}
    function = {"name": "pay", "parameters": {"type": "object", "properties": kinds}}
    tools = [{"type": "function", "function": function}]
    assert [each.arguments for each in calls_in(made, tools)] == [{"zip": "94110", "n": 2}]
    assert [each.arguments for each in calls_in(made)] == [{"zip": 94110, "n": 2}]


def test_two_calls_count_in_any_order():
    two = [WEATHER, WantedCall(name="clock")]
    clock = '{"name": "clock", "arguments": {}}'
    assert check(calls=two).score(clock + "\n" + WRITTEN["llama 3"]) == 1.0
    assert check(calls=two).score(WRITTEN["llama 3"]) == 0.0


def test_case_counts_unless_it_is_ignored():
    text = WRITTEN["llama 3"].replace("Oslo", "oslo")
    assert check(calls=[WEATHER]).score(text) == 0.0
    assert check(calls=[WEATHER], ignore_case=True).score(text) == 1.0


def test_figures_say_what_was_wrong():
    call, words = WRITTEN["llama 3"], "It rains."
    cases = [Case(words, words), Case(call, words), Case(words, call), Case(call, call)]
    scored = score_cases(check(), cases)
    assert scored.scores == (1.0, 0.0, 0.0, 1.0)
    assert scored.figures == {"right_names": 0.5, "called_without_need": 1, "not_called": 1}


# Templates that write calls, those of the list with one call an answer alone.
WRITING = {
    name: family
    for name, family in FAMILIES.items()
    if name in ("qwen2_5", "qwen3", "qwq", "qwen3_5_small", "gemma4", "mistral_nemo", "ministral3")
    or name in ("seed_oss", "gpt_oss", "granite4", "llama3_1", "llama3_2")
}
ONE_CALL = ("llama3_1", "llama3_2", "gpt_oss")
ARGUMENTS = {"city": "New York, NY", "days": 2, "of": ["rain", "wind"], "exact": True}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Where."}},
        },
    },
}


@pytest.mark.parametrize("name", WRITING)
def test_the_calls_of_every_template_are_read(name):
    calls = (ToolCall("weather", ARGUMENTS, id="abcdefghi"), ToolCall("now", {}, id="abcdefghj"))
    calls = calls[:1] if name in ONE_CALL else calls
    asked = (Message("user", "q"), Message("assistant", "", tool_calls=calls))
    conversation = Conversation(asked, file="f", line=1, completion_from=1, tools=(TOOL,))
    text = rendered(conversation, WRITING[name].tokenizer)
    wanted = [WantedCall(name=call.name, arguments=dict(call.arguments)) for call in calls]
    assert check(calls=wanted).score(text) == 1.0, text
    assert check().score(text, text) == 1.0
    assert check().score("I do not know.", text) == 0.0
    assert check().score(text.replace("weather", "rain"), text) == 0.0
    assert check(calls=[]).score(text) == 0.0


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "rain", "arguments": {"city": ',
        '<tool_call>{"name": "rain"}</tool_call>',
        "commentary to=functions.rain json{",
        '[TOOL_CALLS]rain[ARGS]{"city"',
    ],
)
def test_a_call_that_is_cut_is_no_answer_without_a_call(text):
    assert check(calls=[]).score(text) == 0.0
    words = "It rains."
    figures = score_cases(check(), [Case(text, words)]).figures
    assert figures["called_without_need"] == 1


def test_missing_arguments_are_none():
    wanted = [WantedCall(name="now", arguments={})]
    for text in (
        '<tool_call>{"name": "now"}</tool_call>',
        '{"name": "now", "arguments": ""}',
        "call:now{}",
    ):
        assert check(calls=wanted).score(text) == 1.0
    assert check(calls=[]).score('{"name": "Ann"}') == 1.0


def test_a_reference_whose_call_cannot_be_read_is_named():
    fault = check().reference_fault("<tool_call>weather of Oslo</tool_call>")
    assert fault is not None
    assert "cannot be read" in fault


def test_an_answer_that_repeats_itself_is_read_in_time():
    pairs = "<arg_key>a</arg_key><arg_value>b</arg_value>" * 500
    assert not list(calls_in(f"<tool_call>f {pairs}"))
    assert len(list(calls_in(f"<tool_call>f {pairs}</tool_call>"))) == 1
