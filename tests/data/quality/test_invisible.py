"""Characters that nobody sees are found with their rows; what a script needs is left alone."""

import pytest

from tests.data.quality.rows import asked, found, sample
from tests.data.tiny import talk
from tunesmith.data.quality.invisible import InvisibleCharacters, find_invisible
from tunesmith.data.quality.report import Quality
from tunesmith.data.quality.text import see
from tunesmith.data.rows import Conversation, Message

CODE = "invisible_characters"


@pytest.mark.parametrize(
    ("text", "kind", "character"),
    [
        ("a\x00b", "control characters", "\x00"),
        ("a\x1b[31mb", "control characters", "\x1b"),
        ("a\x85b", "control characters", "\x85"),
        ("pay \u202e001\u202c", "overrides of the writing direction", "\u202e"),
        ("\u200ehello", "marks of the writing direction", "\u200e"),
        ("a \u2066b\u2069", "marks of the writing direction", "\u2066"),
        ("zero\u200bwidth", "characters without width", "\u200b"),
        ("안녕\u200b하세요", "characters without width", "\u200b"),
        ("pass\u200dword", "characters without width", "\u200d"),
        ("\ufeffhello", "characters without width", "\ufeff"),
        ("hi \U000e0049\U000e0067", "characters without width", "\U000e0049"),
        ("감사합니다\u3164", "characters without width", "\u3164"),
    ],
)
def test_each_kind_is_found(text, kind, character):
    assert (kind, character) in list(find_invisible(text))


@pytest.mark.parametrize(
    "text",
    [
        "one\ttwo\r\nthree",
        "a family \U0001f468\u200d\U0001f469\u200d\U0001f467 and \u2764\ufe0f\u200d\U0001f525",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "می\u200cخواهم",
        "क्\u200dष",
        "ภาษา\u200bไทย",
        "שלום \u200f(hello)\u200f",
        "مرحبا \u2066hello\u2069",
        "café naïve 한국어 日本語 ½ ™",
    ],
)
def test_what_a_script_or_an_emoji_needs_is_no_fault(text):
    assert list(find_invisible(text)) == []


def test_an_override_is_reported_beside_right_to_left_letters_too():
    assert list(find_invisible("שלום \u202egnp.exe"))


def test_rows_are_reported_once_with_the_characters_and_the_remedy():
    rows = asked(("a", "b\x00c\x00"), ("fine", "answer"), ("d\u200b", "e\x07"))
    assert found(InvisibleCharacters(), rows) == [(CODE, [0, 2]), (CODE, [2])]
    quality = Quality()
    for row in rows:
        quality.observe(row)
    notes = [note for note in quality.warnings() if note.code == CODE]
    assert [note.lines for note in notes] == [(1, 3), (3,)]
    assert "U+0000 NUL, U+0007" in notes[0].message
    assert "U+200B zero width space" in notes[1].message
    assert all("remove them" in note.message for note in notes)


def test_thinking_and_system_messages_are_looked_through():
    messages = (
        Message("system", "be\u202e brief"),
        Message("user", "q"),
        Message("assistant", "a", thinking="h\x00m"),
    )
    observer = InvisibleCharacters()
    observer.observe(see(Conversation(messages, "f", 1)))
    assert len(list(observer.findings())) == 2


@pytest.mark.parametrize("name", ["banking77/train.jsonl"])
def test_clean_sets_are_not_flagged(name):
    assert found(InvisibleCharacters(), sample(name)) == []
    assert found(InvisibleCharacters(), [talk("hi", "there")]) == []
