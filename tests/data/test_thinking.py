"""Thinking is taken apart from what is said, however the text is cut."""

import pytest

from tests.data.families import FAMILIES
from tunesmith.data.rows import Message
from tunesmith.data.template import render_prompt
from tunesmith.data.thinking import ThinkingText, closing_of, split_answer, text_of
from tunesmith.data.tokenizer import HALF, decode, encode

HARMONY = "<|channel|>analysis<|message|>so<|end|><|start|>assistant<|channel|>"
ANSWERS = {
    "plain": (" Paris <b>", "", " Paris <b>"),
    "qwen": ("<think>\n\n</think>\n\nParis\n", "", "Paris\n"),
    "thought": ("\n<think>\nso <it> is\n</think>\n\n<a>", "so <it> is", "<a>"),
    "twice": ("<think>a</think><think>b</think>yes", "a\n\nb", "yes"),
    "cut": ("<think>\nso it", "so it", ""),
    "gemma": ("<|channel>thought\nso\n<channel|>Paris", "so", "Paris"),
    "ministral": ("[THINK]so[/THINK]Paris", "so", "Paris"),
    "final": (HARMONY + "final<|message|>Paris", "so", "Paris"),
    "no thinking": ("<|channel|>final <|constrain|>json<|message|>{}", "", "{}"),
    "call": (
        HARMONY + "commentary<|message|>I look.<|end|><|start|>assistant to=functions.f"
        "<|channel|>commentary json<|message|>{}",
        "so",
        "I look.\n\n<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}",
    ),
    "no header": ("<|start|>ing", "", "<|start|>ing"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_its_thinking_and_what_it_says(name):
    text, thinking, said = ANSWERS[name]
    assert split_answer(text) == (thinking, said)
    for size in (1, 2, 5):
        stream, found = ThinkingText(), ["", ""]
        for start in range(0, len(text) + size, size):
            new = stream.add(text[start : start + size], last=start >= len(text))
            found = [before + more for before, more in zip(found, new, strict=True)]
        assert found == [thinking, said], size


def test_a_prompt_that_opens_the_thinking_is_closed_by_its_answer():
    asked = [Message("user", "q")]
    tokenizer = FAMILIES["qwq"].tokenizer
    close = closing_of(decode(tokenizer, render_prompt(tokenizer, asked)[-16:]))
    assert ThinkingText(close).add("so\n</think>\n\nyes", last=True) == ("so", "yes")
    assert split_answer("so\n</think>\n\nyes") == ("so", "yes")
    for name in ("qwen3", "smollm3", "gpt_oss"):  # closed at once, or not opened
        tokenizer = FAMILIES[name].tokenizer
        assert closing_of(decode(tokenizer, render_prompt(tokenizer, asked)[-16:])) is None


@pytest.mark.parametrize("name", ["smollm2", "qwen3"])
def test_a_character_that_was_cut_at_the_end_is_dropped(name):
    tokenizer = FAMILIES[name].tokenizer
    for text in ("안녕하세요 😊", "<think>\n음\n</think>\n\n좋아요 😊"):
        (ids,) = encode(tokenizer, [text])
        cut = [text_of(tokenizer, ids[:end]) for end in range(len(ids) + 1)]
        assert any(HALF in decode(tokenizer, ids[:end]) for end in range(len(ids)))
        assert not any(HALF in part for part in cut)
        assert cut[-1] == split_answer(text)[1]
