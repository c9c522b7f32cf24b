"""What is learned of a template: whether it writes tools, calls and thinking, and how."""

import dataclasses

import pytest

from tests.data.families import FAMILIES, THINK
from tests.data.tiny import TEMPLATES, supervised_runs, tiny_tokenizer, tokenizer_of
from tunesmith.data.chat_format import study
from tunesmith.data.chat_text import TemplateDialect, chat_text, given
from tunesmith.data.rows import Conversation, Message, ToolCall
from tunesmith.data.template import Rendering, render_each

TURN = (Message("user", "p"), Message("assistant", "b"))
CALL = Message("assistant", "", tool_calls=(ToolCall("f", {"x": ["é", 1]}, id="c1"),))
LOOP = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}TURN{{ '<|im_end|>\n' }}"
LOOP += "{% endfor %}"
LOOP += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
AS_OBJECT = "{{ m.tool_calls[0].function.arguments | tojson }}"
AS_TEXT = "{{ '' + m.tool_calls[0].function.arguments }}"
CALLS = "{% if m.tool_calls %}{{ m.tool_calls[0].function.name }}ARGUMENTS{% endif %}"
OR_CONTENT = "{% if m.content is defined and m.content %}{{ m.content }}{% endif %}"


def tokenizer(turn, arguments=""):
    return tiny_tokenizer(LOOP.replace("TURN", turn.replace("ARGUMENTS", arguments)))


def test_arguments_are_given_as_the_template_wants_them():
    dialects = []
    for arguments in (AS_OBJECT, AS_TEXT):
        writer = tokenizer(OR_CONTENT + CALLS, arguments)
        dialects.append(study(writer).tools.dialect)
        chat = given([Message("user", "q"), CALL], dialect=dialects[-1])
        assert '{"x": ["é", 1]}' in chat_text(writer, chat)
    assert dialects == [TemplateDialect(), TemplateDialect(arguments_as_text=True)]


def test_a_template_that_reads_the_content_of_every_message_gets_one():
    strict = tokenizer("{{ '' + m.content }}" + CALLS, AS_OBJECT)
    assert study(strict).tools.dialect == TemplateDialect(empty_content=True)


def test_a_template_without_calls_leaves_them_out():
    for name in TEMPLATES.keys() - {"no_end"}:
        format = study(tokenizer_of(name))
        assert (format.tools.takes_tools, format.tools.takes_calls) == (False, False), name
        assert format.tools.takes_thinking == (name in ("thinking", "opening")), name


def test_what_a_template_refuses_by_itself_counts_as_taken():
    refuses = "{% if m.tool_calls %}{{ raise_exception('no tools') }}{% endif %}{{ m.content }}"
    format = study(tokenizer(refuses))
    assert format.tools.takes_calls
    assert not format.tools.takes_tools


def special_thinking(family):
    """The family, were the marks around thinking special tokens."""
    added = tuple(token for token in family.added if token not in THINK)
    return dataclasses.replace(family, special=family.special + THINK, added=added)


def test_masks_are_the_same_where_thinking_marks_are_special_tokens():
    thinking = Message("assistant", "a", thinking="t")
    row = Conversation((Message("user", "q"), thinking, *TURN), "f", 1)
    for name in ("qwen3", "deepseek_r1_distill"):
        texts = []
        for family in (FAMILIES[name], special_thinking(FAMILIES[name])):
            tokenizer = family.tokenizer
            (made,) = render_each(tokenizer, [row], study(tokenizer), Rendering("answer"))
            texts.append([supervised_runs(tokenizer, each) for each in made.value])
        assert texts[0] == texts[1]


@pytest.mark.parametrize("token", ["[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"])
def test_tokens_around_calls_and_results_are_control_tokens(token):
    format = study(FAMILIES["mistral_nemo"].tokenizer)
    assert format.control.fullmatch(token)
    assert not format.special.search(token)


def test_thinking_marks_are_text_of_an_answer():
    families = [FAMILIES[name] for name in ("qwen3", "qwq", "deepseek_r1_distill")]
    for family in (*families, *map(special_thinking, families)):
        format = study(family.tokenizer)
        assert not format.control.search("<think>so</think>")
        assert not format.special.search("<think>so</think>")
