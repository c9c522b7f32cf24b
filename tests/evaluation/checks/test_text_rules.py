"""starts_with, contains, not_contains, max_words, max_sentences: what each takes and refuses."""

import unicodedata

import pytest

from tunesmith.config.checks import (
    ContainsSettings,
    EndsWithSettings,
    MaxSentencesSettings,
    MaxWordsSettings,
    NotContainsSettings,
    StartsWithSettings,
)
from tunesmith.config.faults import validate
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.table import build_checks
from tunesmith.evaluation.checks.text_rules import count_sentences, count_words


def score(settings, answer):
    (check,) = build_checks([settings])
    return check.score(answer)


@pytest.mark.parametrize(
    ("answer", "passes"),
    [("Yes, it is.", 1), (" \nYes", 1), ("No", 1), ("yes", 0), ("Oh yes. Yes", 0), ("Y", 0)],
)
def test_one_of_the_beginnings_must_begin_the_answer(answer, passes):
    assert score(StartsWithSettings(beginnings=("Yes", "No")), answer) == passes


def test_case_and_spelling_of_syllables():
    assert score(StartsWithSettings(beginnings="yes", ignore_case=True), "YES!") == 1
    assert (
        score(StartsWithSettings(beginnings="네"), unicodedata.normalize("NFD", "네, 그래요")) == 1
    )
    assert score(ContainsSettings(texts="STRASSE", ignore_case=True), "in der Straße") == 1


@pytest.mark.parametrize(
    ("any_", "answer", "passes"),
    [
        (False, "a cat and a dog", 1),
        (False, "a cat", 0),
        (True, "a cat", 1),
        (True, "a bird", 0),
        (False, "A CAT and a dog", 0),
    ],
)
def test_contains_wants_all_texts_or_one(any_, answer, passes):
    assert score(ContainsSettings(texts=("cat", "dog"), any=any_), answer) == passes


@pytest.mark.parametrize(
    ("answer", "passes"), [("I can.", 1), ("Sorry, no", 0), ("sorry", 0), ("", 0), (" \n", 0)]
)
def test_not_contains_refuses_each_text_and_silence(answer, passes):
    settings = NotContainsSettings(texts=("sorry", "as an AI"), ignore_case=True)
    assert score(settings, answer) == passes


@pytest.mark.parametrize(
    ("settings", "answer", "passes"),
    [
        (ContainsSettings(texts=" no "), "nothing", 0),
        (ContainsSettings(texts=" no "), "There is no way.", 1),
        (ContainsSettings(texts=" NO ", ignore_case=True), "There is no way.", 1),
        (ContainsSettings(texts="\n- "), "Items:\n- one", 1),
        (NotContainsSettings(texts=" ai "), "I said it again.", 1),
        (NotContainsSettings(texts=" ai "), "I said ai again.", 0),
        (StartsWithSettings(beginnings="I "), "It is", 0),
        (StartsWithSettings(beginnings="I "), " I am", 1),
        (StartsWithSettings(beginnings="Yes "), "Yes", 0),
        (StartsWithSettings(beginnings="i ", ignore_case=True), "I am", 1),
        (EndsWithSettings(endings=" ok"), "a book", 0),
        (EndsWithSettings(endings=" ok"), "It is ok. ", 1),
    ],
)
def test_white_space_of_the_texts_counts(settings, answer, passes):
    assert score(settings, answer) == passes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("one two", 2),
        ("well-known don't", 2),
        ("a - b", 2),
        ("$5.00, 3%", 2),
        ("안녕하세요 여러분", 2),
        ("今日は晴れ。", 5),
        ("東京 is big", 4),
        ("!!! ...", 0),
        ("tab\tnew\nline", 3),
    ],
)
def test_words_are_pieces_with_a_letter_or_digit(text, words):
    assert count_words(text) == words


def test_a_limit_of_words_includes_itself():
    assert score(MaxWordsSettings(words=2), "one two") == 1
    assert score(MaxWordsSettings(words=1), "one two") == 0


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", 0),
        ("Hello", 1),
        ("Mr. Smith pays 3.14 dollars. Really? Yes.", 3),
        ("One line\nanother line", 2),
        ("Wow!!! ...", 1),
        ("네, 그렇습니다. 감사합니다!", 2),
        ("今日は晴れです。明日は？", 2),
    ],
)
def test_sentences_end_at_their_mark_or_line(text, sentences):
    assert count_sentences(text, language="en") == sentences
    limit = max(1, sentences)
    assert score(MaxSentencesSettings(sentences=limit), text or "x") == 1
    if sentences > 1:
        assert score(MaxSentencesSettings(sentences=sentences - 1), text) == 0


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (ContainsSettings, {"texts": ["a", " "]}, "`texts`: a text is blank"),
        (ContainsSettings, {"texts": []}, "`texts`"),
        (MaxWordsSettings, {"words": 0}, "`words`"),
        (StartsWithSettings, {"beginnings": ["a", " b"]}, "' b' has white space at its start"),
        (EndsWithSettings, {"endings": "b\n"}, r"'b\\n' has white space at its end"),
    ],
)
def test_settings_that_would_pass_everything_or_nothing_are_refused(model, values, message):
    with pytest.raises(ConfigError, match=message):
        validate(model, values, source="a.yaml")
