"""Whatever goes wrong in a check stays with its row; other rows and checks keep their scores."""

import pytest

from tunesmith.evaluate.checks.protocol import CannotScore, Case, Check
from tunesmith.evaluate.checks.scoring import score_cases

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
