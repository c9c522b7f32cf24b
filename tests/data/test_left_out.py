"""A prompt that lacks a part of its conversation is refused, by what it lacks."""

import pytest

from tests.data.families import FAMILIES
from tests.data.tiny import tokenizer_of
from tunesmith.core.errors import DataError
from tunesmith.data.rows import Message, ToolCall
from tunesmith.data.template import render_prompt

TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}},
}
CALL = ToolCall("weather", {"city": 'a "b"', "days": 3, "of": True}, id="abcdefghi")
ASKED, RESULT = Message("user", "q"), Message("tool", '{"temp": "22 °C"}', tool_call_id=CALL.id)
SAID = Message("assistant", "I look.", tool_calls=(CALL,))
LEAVING_OUT = ("smollm2", "smollm3", "phi3_5", "gemma3", "deepseek_r1_distill", "granite3_3")
WRITING = ("qwen3", "llama3_1", "mistral_nemo", "gemma4", "granite4", "ministral3", "gpt_oss")


def prompt(name, *messages, tools=()):
    return render_prompt(FAMILIES[name].tokenizer, messages, tools, whole=True)


@pytest.mark.parametrize("name", LEAVING_OUT)
def test_a_call_that_the_template_leaves_out_is_named(name):
    silent = Message("assistant", "", tool_calls=(CALL,))
    for said in (SAID, silent):
        with pytest.raises(DataError, match="leaves out tool calls") as refused:
            prompt(name, ASKED, said, RESULT)
        assert refused.value.code == "tool_calls_ignored"


@pytest.mark.parametrize("name", WRITING)
def test_a_loop_of_calls_goes_on_where_they_are_written(name):
    """What is said beside a call, and what was thought, may be left out of the next prompt."""
    assert prompt(name, ASKED, SAID, RESULT, tools=[TOOL])
    thinking = Message("assistant", "done", thinking="hm")
    assert prompt(name, ASKED, SAID, RESULT, thinking, ASKED, tools=[TOOL])


def test_one_of_two_calls_a_result_and_a_system_message_are_not_lost():
    two = Message("assistant", "", tool_calls=(CALL, ToolCall("other", {}, id="abcdefghj")))
    with pytest.raises(DataError, match=r"a call of message 2 \(assistant\): `other`"):
        prompt("gpt_oss", ASKED, two, RESULT, tools=[TOOL])
    with pytest.raises(DataError, match=r"the content of message 2 \(tool\)"):
        prompt("phi3_5", ASKED, RESULT)
    with pytest.raises(DataError, match="leaves out the system message"):
        render_prompt(tokenizer_of("no_system"), [Message("system", "s"), ASKED], whole=True)
