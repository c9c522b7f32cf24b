"""Held-out questions: tools reach the prompt, and what was thought is no part of an answer."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.data.families import FAMILIES
from tunesmith.data.rows import Conversation, Message, ToolCall
from tunesmith.data.template import Rendering, render
from tunesmith.data.thinking import text_of
from tunesmith.evaluation.answers import Question, questions_of, score
from tunesmith.evaluation.arms import arm_of

TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
CALLING = Message("assistant", "", tool_calls=(ToolCall("look_up", {"word": "é"}, id="abcdefghi"),))
RESULT = Message("tool", "22", tool_call_id="abcdefghi")
ASKED = Message("user", "q")


def asked(name, *messages):
    row = Conversation(messages, "f", 1, tools=(TOOL,))
    (question,) = questions_of([row], FAMILIES[name].tokenizer, limit=1)
    return question


def test_a_question_has_the_tools_of_its_row():
    said = Message("assistant", "warm")
    question = asked("qwen2_5", ASKED, CALLING, RESULT, said)
    assert question == Question((ASKED, CALLING, RESULT), "warm", (TOOL,))


def test_a_call_is_expected_in_the_words_of_the_template():
    assert asked("qwen2_5", ASKED, CALLING).reference == (
        '<tool_call>\n{"name": "look_up", "arguments": {"word": "é"}}\n</tool_call>'
    )
    assert asked("llama3_1", ASKED, CALLING).reference == (
        '{"name": "look_up", "parameters": {"word": "é"}}'
    )
    assert asked("qwen3", ASKED, CALLING).reference == asked("qwen2_5", ASKED, CALLING).reference


@pytest.mark.parametrize("name", ["qwen3", "deepseek_r1_distill", "granite3_3"])
def test_thinking_is_no_part_of_what_is_expected(name):
    thinking = Message("assistant", "yes", thinking="hm")
    inline = Message("assistant", "<think>\nhm\n</think>\n\nyes")
    for said in (thinking, inline, Message("assistant", "yes")):
        row = Conversation((ASKED, said), "f", 1)
        (question,) = questions_of([row], FAMILIES[name].tokenizer, limit=1)
        assert question.reference == "yes"


@pytest.mark.parametrize("name", ["qwen3", "deepseek_r1_distill", "qwen2_5"])
def test_an_answer_that_is_what_was_trained_is_what_is_expected(name):
    tokenizer = FAMILIES[name].tokenizer
    messages = (ASKED, Message("assistant", "yes é"))
    tools = (TOOL,) if name != "deepseek_r1_distill" else ()
    row = Conversation(messages, "f", 7, tools=tools)
    trained = render(tokenizer, row, Rendering(document="answer"))
    loaded = SimpleNamespace(
        engine=SimpleNamespace(prefix_length=lambda _: 0),
        base=SimpleNamespace(context=10_000),
        tokenizer=lambda _: tokenizer,
    )
    (question,) = questions_of([row], tokenizer, limit=1)
    assert (question.file, question.line) == ("f", 7)
    (prompt,) = arm_of(loaded, "base", [question]).prompts
    said = trained.ids[trained.weights > 0][:-1].tolist()  # all but the end of the turn
    assert text_of(tokenizer, said) == question.reference == "yes é"
    assert prompt.ids == tuple(trained.ids[: len(prompt.ids)].tolist())
    assert ("look_up" in tokenizer.decode(prompt.ids)) == bool(tools)


def test_an_answer_of_gpt_oss_is_what_its_final_channel_says():
    tokenizer = FAMILIES["gpt_oss"].tokenizer
    for thinking in (None, "hm"):
        row = Conversation((ASKED, Message("assistant", "Paris", thinking=thinking)), "f", 1)
        trained = render(tokenizer, row, Rendering(document="answer"))
        (question,) = questions_of([row], tokenizer, limit=1)
        assert text_of(tokenizer, trained.ids[trained.weights > 0].tolist()) == "Paris"
        assert question.reference == "Paris"


def test_only_rows_with_a_degenerate_answer_name_its_kinds():
    questions = [Question((Message("user", f"q{i}"),), "yes") for i in range(2)]
    texts = {"base": ("a", "b"), "tuned": ("c", "d")}
    answers = replace(
        score(questions, texts, [], seed=0),
        degenerate={"base": [(), ()], "tuned": [(), ("itself",)]},
    )
    plain, degenerate = answers.rows()
    assert "degenerate" not in plain
    assert degenerate["degenerate"] == {"tuned": ["itself"]}
