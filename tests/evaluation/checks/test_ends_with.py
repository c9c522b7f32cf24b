"""ends_with: an ending, then nothing that counts."""

import unicodedata

import pytest

from tunesmith.config.checks import EndsWithSettings
from tunesmith.evaluation.checks.text_rules import ends_with_check


def score(answer, *endings, **settings):
    return ends_with_check(EndsWithSettings(endings=endings, **settings)).score(answer, None)


@pytest.mark.parametrize(
    "answer",
    [
        "좋아요",
        "좋아요 \n",
        "요즘 좋아요.",
        "좋아요.",
        "좋아요!! ",
        "좋아요~",
        "좋아요^^",
        "좋아요 😊",
        "좋아요 \u2764\ufe0f",
        "좋아요 \U0001f469\u200d\U0001f4bb",
        '"좋아요."',
    ],
)
def test_white_space_and_marks_may_follow(answer):
    assert score(answer, "요") == 1.0


@pytest.mark.parametrize("answer", ["좋다", "요즘 좋다.", "좋아요 네", "좋아요1", "", ".", "..."])
def test_anything_else_may_not_follow(answer):
    assert score(answer, "요") == 0.0


def test_marks_count_when_they_are_not_ignored():
    assert score("좋아요.", "요", ignore_punctuation=False) == 0.0
    assert score("좋아요 ", "요", ignore_punctuation=False) == 1.0


def test_an_ending_may_itself_be_or_hold_a_mark():
    assert score("Is it?", "?") == 1.0
    assert score("Is it? No.", "?") == 0.0
    assert score("좋아요.)", "요.") == 1.0
    assert score("좋아요!", "요.") == 0.0


def test_one_of_several_endings_is_enough():
    assert score("갑니다.", "요", "니다") == 1.0
    assert score("간다.", "요", "니다") == 0.0


def test_decomposed_and_composed_syllables_end_alike():
    decomposed = unicodedata.normalize("NFD", "요")
    assert score(unicodedata.normalize("NFD", "좋아요"), "요") == 1.0
    assert score("좋아요", decomposed) == 1.0
