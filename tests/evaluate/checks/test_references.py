"""Before training: do the data's own answers pass, as answers that are learned would?"""

from tunesmith.config.checks import (
    EndsWithSettings,
    ExactSettings,
    LanguageSettings,
    RegexSettings,
    StyleSettings,
)
from tunesmith.evaluate.checks.references import early_notes
from tunesmith.evaluate.checks.table import build_checks


def notes(settings, references):
    return list(early_notes(build_checks([settings]), references, [None] * len(references)))


def test_a_check_that_matches_nothing_is_told():
    (note,) = notes(EndsWithSettings(endings="요"), ["좋다", "간다"])
    assert note.startswith("check `ends_with`: none of the data's 2 own answers passes")


def test_a_check_that_most_own_answers_fail_is_told_with_their_score():
    (note,) = notes(RegexSettings(pattern="^a"), ["ab", "b", "c", "d"])
    assert "score 25 %" in note


def test_a_check_that_own_answers_pass_is_not_told():
    assert notes(ExactSettings(), ["a", "b"]) == []
    assert notes(RegexSettings(pattern="^a"), ["ab", "ac", "d"]) == []


def test_rows_that_cannot_be_scored_are_told():
    (note,) = notes(LanguageSettings(language="en", among=("ko",)), ["This is fine.", "42"])
    assert "1 of 2 rows scored; row 2: it has no letters" in note


def test_checks_that_own_answers_need_not_pass_and_rows_without_one_are_left_out():
    assert notes(StyleSettings(), ["a"]) == []
    assert notes(EndsWithSettings(endings="요"), [None, None]) == []
