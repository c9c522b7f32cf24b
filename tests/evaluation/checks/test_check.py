"""Rows that a check could not score are named before anything is generated."""

import pytest

from tunesmith.config.checks import (
    EndsWithSettings,
    ExactSettings,
    JsonSettings,
    LabelSettings,
    LanguageSettings,
    RegexSettings,
    StyleSettings,
)
from tunesmith.core.errors import DataError
from tunesmith.evaluation.checks.check import (
    SHOWN_FAULTS,
    CannotScore,
    Case,
    Check,
    early_notes,
    require_references,
    score_cases,
)
from tunesmith.evaluation.checks.table import build_checks

CHECKS = build_checks([JsonSettings(), LabelSettings(name="intent", field="intent")])


def test_usable_references_pass():
    require_references(CHECKS, ['{"intent": "a"}', '{"intent": "b"}'])


def test_every_unusable_row_is_named_with_its_check():
    with pytest.raises(DataError) as caught:
        require_references(CHECKS, ['{"intent": "a"}', "a", None])
    lines = caught.value.message.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "check `intent`, row 2",
        "check `intent`, row 3",
    ]


def test_a_long_list_of_faults_is_cut_and_counted():
    with pytest.raises(DataError) as caught:
        require_references(CHECKS, [None] * (SHOWN_FAULTS + 7))
    lines = caught.value.message.splitlines()
    assert len(lines) == SHOWN_FAULTS + 1
    assert lines[-1] == "... and 7 more"


CASES = [Case("a", "a"), Case("b", "a"), Case("", "a")]


def raising(error):
    def rule(case):
        if case.answer == "b":
            raise error
        return 1.0

    return Check(name="x", rule=rule)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CannotScore("it has no letters"), "it has no letters"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (RecursionError(), "RecursionError: "),
    ],
)
def test_a_row_that_cannot_be_scored_is_told_and_the_others_are_scored(error, told):
    scored = score_cases(raising(error), CASES)
    assert scored.scores == (1.0, None, 0.0)
    assert scored.errors == {2: told}
    assert scored.note == f"2 of 3 rows scored; row 2: {told}"
    assert scored.empty == 1


@pytest.mark.parametrize("wrong", [1.5, -0.1, float("nan"), float("inf")])
def test_a_score_out_of_range_is_an_error_of_its_row(wrong):
    scored = score_cases(Check(name="x", rule=lambda case: wrong), CASES[:1])
    assert scored.scores == (None,)
    assert "within 0 and 1" in scored.errors[1]


def test_a_stop_of_the_user_is_no_error_of_a_row():
    with pytest.raises(KeyboardInterrupt):
        score_cases(raising(KeyboardInterrupt()), CASES)


def test_a_check_that_cannot_be_prepared_scores_no_row_and_says_why_once():
    def prepare(cases):
        raise CannotScore("no model")

    scored = score_cases(Check(name="x", rule=lambda case: 1.0, prepare=prepare), CASES)
    assert scored.scores == (None,) * 3
    assert set(scored.errors.values()) == {"no model"}
    assert scored.figures == {}


def test_figures_are_over_the_scored_rows_and_their_failure_leaves_the_scores():
    check = Check(
        name="x",
        rule=raising(CannotScore("no")).rule,
        aggregate=lambda cases: {"seen": [case.answer for case in cases]},
    )
    assert score_cases(check, CASES).figures == {"seen": ["a", ""]}
    broken = Check(name="x", rule=lambda case: 1.0, aggregate=lambda cases: {"f": 1 / 0})
    scored = score_cases(broken, CASES[:1])
    assert scored.scores == (1.0,)
    assert scored.figures == {"error": "ZeroDivisionError: division by zero"}


def test_a_whole_score_has_no_note():
    assert score_cases(Check(name="x", rule=lambda case: 1.0), CASES[:1]).note is None


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
