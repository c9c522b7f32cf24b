"""Answers on the page: what passes, what fails, and what has no score and so is neither."""

import time

import pytest

from tunesmith.report.answers import _compared, _group, _said


def row(base, tuned):
    scores = {"base": {"judge": base}, "tuned": {"judge": tuned}}
    failed = {arm: [n for n, s in each.items() if s == 0] for arm, each in scores.items()}
    return {"scores": scores, "failed": failed}


@pytest.mark.parametrize(
    ("base", "tuned", "group", "passed"),
    [
        (0.0, 1.0, "better", True),
        (1.0, 0.0, "worse", False),
        (0.0, 0.0, "fails", False),
        (1.0, 1.0, "passes", True),
        (0.0, None, "", False),
        (None, 1.0, "", True),
        (0.0, 0.03, "partly", False),
        (0.4, 0.0, "fails", False),
    ],
)
def test_an_answer_without_a_score_is_in_no_group_and_only_full_ones_pass(
    base, tuned, group, passed
):
    made = row(base, tuned)
    assert _group(made) == group
    assert _said("tuned", made, "text", "").passed is passed


@pytest.mark.parametrize(
    ("text", "reference", "pieces"),
    [
        ("It costs 5.", "It costs 5 euros.", [("It costs 5", True), (".", True)]),
        ("It costs\n6.", "It costs 5.", [("It costs\n", True), ("6", False), (".", True)]),
        (" never mind", "mind", [(" never ", False), ("mind", True)]),
        ("So so. " * 500, "So so. " * 500, [("So so. " * 500, True)]),
    ],
)
def test_words_that_the_reference_has_are_marked_whatever_blanks_follow(text, reference, pieces):
    assert list(_compared(text, reference)) == pieces


def test_repetitive_answers_do_not_stall_the_page():
    text, reference = "I am sorry. " * 330, "I am happy. " * 330
    start = time.process_time()
    assert "".join(piece for piece, _ in _compared(text, reference)) == text
    assert time.process_time() - start < 5
