"""Answers on the page: what passes, what fails, and what has no score and so is neither."""

import pytest

from tunesmith.report.answers import _group, _said


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
        (0.0, 0.03, "better", False),
    ],
)
def test_an_answer_without_a_score_is_in_no_group_and_only_full_ones_pass(
    base, tuned, group, passed
):
    made = row(base, tuned)
    assert _group(made) == group
    assert _said("tuned", made, "text", "").passed is passed
