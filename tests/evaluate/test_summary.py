"""The table of an evaluation: every arm's score, and tuned minus every other arm."""

from tunesmith.evaluate.best_arm import gain_over_best
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


def arm(passed, failed):
    return [1.0] * passed + [0.0] * failed


def test_the_gain_is_the_first_checks_over_its_best_other_arm():
    scores = {
        "label": {"base": arm(10, 90), "prompted": arm(40, 60), "tuned": arm(80, 20)},
        "json": {"base": arm(99, 1), "prompted": arm(50, 50), "tuned": arm(70, 30)},
    }
    summary = summarise(scores, seed=0)
    assert summary.gain.against == "prompted"
    others = {name: rows for name, rows in scores["label"].items() if name != "tuned"}
    assert summary.gain == gain_over_best(scores["label"]["tuned"], others, seed=0)
    # json rose against the arm that the gain is over, though it fell against the base
    assert summary.changed == {"json": 1}


def test_other_checks_that_rose_or_fell_are_named():
    flat = {"base": arm(50, 50), "tuned": arm(50, 50)}
    rose = {"base": arm(10, 90), "tuned": arm(90, 10)}
    fell = {"base": arm(90, 10), "tuned": arm(10, 90)}
    assert summarise({"a": flat, "b": rose, "c": fell}, seed=0).changed == {"b": 1, "c": -1}
    assert summarise({"a": rose, "b": rose, "c": fell}, seed=0).changed == {"b": 1, "c": -1}


def test_several_other_checks_are_read_together():
    rose = {"base": arm(10, 90), "tuned": arm(90, 10)}
    barely = {"base": arm(10, 30), "tuned": arm(5, 35)}  # 5 lost, none gained: p = 0.025
    flat = {"base": arm(20, 20), "tuned": arm(20, 20)}
    assert summarise({"a": rose, "b": barely}, seed=0).changed == {"b": -1}
    assert summarise({"a": rose, "b": barely, "c": flat, "d": flat}, seed=0).changed == {}


def test_one_that_rose_where_the_first_did_not_is_read_together_with_it():
    flat = {"base": arm(20, 20), "tuned": arm(20, 20)}
    rose = {"base": arm(5, 35), "tuned": arm(35, 5)}
    barely = {"base": arm(5, 35), "tuned": arm(10, 30)}  # p = 0.025
    assert summarise({"a": rose, "b": barely}, seed=0).changed == {"b": 1}
    assert summarise({"a": flat, "b": barely}, seed=0).changed == {}


def test_without_another_arm_there_is_nothing_to_compare():
    summary = summarise({"json": {"tuned": [1.0, 0.0]}}, seed=0)
    assert (summary.gain, summary.changed) == (None, {})


def test_graded_scores_are_told_from_passes():
    graded = {"rouge": {"base": [0.0, 1.0], "tuned": [0.5, 1.0]}}
    assert summarise(graded, seed=0).checks[0].graded
    assert not summarise(SCORES, seed=0).checks[0].graded
