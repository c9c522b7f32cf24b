"""Thinking: what stands in front of the last closing mark, whether or not it was opened."""

import pytest

from tunesmith.data.chat_text import split_thinking, with_thinking


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<think>\nso\n</think>\n\nyes", ("so", "yes")),
        ("so\n</think>yes", ("so", "yes")),
        ("<think></think>yes", ("", "yes")),
        ("<think>\n\n</think>\n\nyes", ("", "yes")),
        ("<think>a</think>b</think>yes", ("a</think>b", "yes")),
        ("yes", ("", "yes")),
        (" <think>so far", ("", " <think>so far")),
        ("", ("", "")),
    ],
)
def test_thinking_and_what_is_said_are_told_apart(text, parts):
    assert split_thinking(text) == parts


def test_what_was_put_together_comes_apart_again():
    assert split_thinking(with_thinking("a\n\nb", "yes\n")) == ("a\n\nb", "yes\n")
