"""The table of an evaluation: every arm's score, and tuned minus every other arm."""

from tunesmith.evaluate.interval import mean_interval, paired_difference
from tunesmith.evaluate.summary import summarise

SCORES = {
    "json": {"base": [0, 0, 1, 0], "prompted": [1, 0, 1, 0], "tuned": [1, 1, 1, 0]},
    "label": {"base": [0, 1, 0, 0], "tuned": [0, 1, 1, 1]},
}


def test_each_arm_and_difference_is_the_interval_of_its_rows():
    summary = summarise(SCORES, seed=0, level=0.9)
    for check in summary.checks:
        arms = SCORES[check.name]
        assert check.arms == {
            arm: mean_interval(rows, seed=0, level=0.9) for arm, rows in arms.items()
        }
        assert check.differences == {
            arm: paired_difference(arms["tuned"], rows, seed=0, level=0.9)
            for arm, rows in arms.items()
            if arm != "tuned"
        }


def test_checks_keep_their_order_because_the_first_decides():
    assert [check.name for check in summarise(SCORES, seed=0).checks] == ["json", "label"]
    backwards = dict(reversed(SCORES.items()))
    assert [check.name for check in summarise(backwards, seed=0).checks] == ["label", "json"]


def test_a_gain_is_a_positive_difference():
    json_check = summarise(SCORES, seed=0).checks[0]
    assert json_check.differences["base"].mean == 0.5
    assert json_check.differences["prompted"].mean == 0.25


def test_rows_without_a_score_are_left_out_and_pairs_need_both():
    scores = {"a": {"base": [0, None, 1, 0], "tuned": [1, 1, None, 0], "prompted": [None] * 4}}
    (check,) = summarise(scores, seed=0).checks
    assert (check.arms["base"].n, check.arms["tuned"].n) == (3, 3)
    assert "prompted" not in check.arms
    assert set(check.differences) == {"base"}
    assert check.differences["base"] == paired_difference([1, 0], [0, 0], seed=0)
