"""An answer behind its served prompt: exact where both open it alike, refused where they do not."""

import pytest

from tests.data.tiny import documents_of, supervised_runs, talk, tiny_tokenizer
from tunesmith.data.chat_format import study
from tunesmith.data.rows import Conversation, Message
from tunesmith.data.template import Rendering, render_each

TURNS = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
TURNS += "{% endfor %}"
ASKED_OTHERWISE = "{% if add_generation_prompt %}{{ 'Now answer.\n' }}{% endif %}"


def template(opening, before=""):
    return f"{before}{TURNS}{{% if add_generation_prompt %}}{{{{ {opening!r} }}}}{{% endif %}}"


def documents(text, row):
    tokenizer = tiny_tokenizer(text)
    outcomes = render_each(tokenizer, [row], study(tokenizer), Rendering(document="answer"))
    return tokenizer, documents_of(outcomes)


@pytest.mark.parametrize("before", ["", ASKED_OTHERWISE])
def test_a_prompt_that_opens_as_a_finished_turn_does_is_followed_by_it(before):
    opening = "<|im_start|>assistant\n"
    tokenizer, made = documents(template(opening, before), talk("q", "a", "p", "b"))
    assert [supervised_runs(tokenizer, each.row) for each in made] == [
        ["a<|im_end|>"],
        ["b<|im_end|>"],
    ]
    texts = [tokenizer.decode(each.row.ids) for each in made]
    assert all(text.startswith("Now answer.") == bool(before) for text in texts)


@pytest.mark.parametrize(
    ("opening", "before"),
    [
        ("<|head|>answer<|/head|>", ASKED_OTHERWISE),
        ("Answer: ", ASKED_OTHERWISE),
        ("<|im_start|>assistant\nfinal: ", ""),
    ],
)
def test_a_prompt_that_opens_otherwise_is_refused(opening, before):
    _, (refused,) = documents(template(opening, before), talk("q", "a"))
    (fault,) = refused.faults
    assert fault.code == "not_prefix_preserving"
    assert "generation" in fault.remedy


@pytest.mark.parametrize(
    ("opening", "thinking", "trained"),
    [
        ("<think>\n", None, "</think>\n\na<|im_end|>"),
        ("<think>\n", "so", "so\n</think>\n\na<|im_end|>"),
        ("<think>\n</think>\n", None, "a<|im_end|>"),
    ],
)
def test_a_prompt_may_open_the_thinking(opening, thinking, trained):
    prompt = "<|im_start|>assistant\n" + opening
    answer = Message("assistant", "a", thinking=thinking)
    row = Conversation((Message("user", "q"), answer), "f", 1)
    tokenizer, (document,) = documents(template(prompt), row)
    assert supervised_runs(tokenizer, document.row) == [trained]
    noted = {note.code for note in document.notes}
    assert ("empty_thinking" in noted) == (trained.startswith("</think>"))
