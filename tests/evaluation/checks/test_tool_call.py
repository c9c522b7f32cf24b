"""tool_call: the wanted calls with their arguments, in whatever way a model writes them."""

import pytest

from tunesmith.config.checks import ToolCallSettings, WantedCall
from tunesmith.evaluation.checks.check import Case, score_cases
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.checks.tool_call import calls_in

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
    "with words": 'Let me look. {"name": "weather", "arguments": {"days": 3.0, "city": " Oslo"}}',
}


def check(**settings):
    return build_checks([ToolCallSettings(**settings)])[0]


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_call_counts_in_every_way_in_which_models_write_it(text):
    assert check(calls=[WEATHER]).score(text) == 1.0
    assert check(calls=[]).score(text) == 0.0
    assert check().score(text, WRITTEN["hermes and qwen"]) == 1.0


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
