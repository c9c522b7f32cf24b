"""Holm's procedure: as scipy-style adjusted p-values would decide, and never more false names."""

import itertools
from statistics import NormalDist

import numpy as np
import pytest

from tunesmith.evaluation.comparison import (
    MAX_ROWS,
    gain_over_best,
    holm,
    rows_needed,
    summarize,
)
from tunesmith.evaluation.intervals import mean_interval, paired_difference


def changes(p_values, sign=1):
    return {name: (lambda level, p=p: sign * (p <= 1 - level)) for name, p in p_values.items()}


def textbook_holm(p_values, alpha):
    """The textbook's way: sorted p-values against alpha / (m - i), stopping at the first miss."""
    found = set()
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if p > alpha / (len(p_values) - i):
            break
        found.add(name)
    return found


def test_the_changes_that_stand_are_the_textbooks():
    rng = np.random.default_rng(0)
    for trial, count in itertools.product(range(60), (1, 2, 3, 5)):
        p_values = {f"{i}": float(p) for i, p in enumerate(rng.beta(0.3, 3, size=count))}
        found = holm(changes(p_values), level=0.95)
        assert set(found) == textbook_holm(p_values, 0.05), (trial, p_values)


def test_one_change_is_read_at_the_plain_level_and_two_at_half_the_error():
    assert holm(changes({"a": 0.049}), level=0.95) == {"a": 1}
    assert holm(changes({"a": 0.049, "b": 0.9}), level=0.95) == {}
    assert holm(changes({"a": 0.024, "b": 0.9}), level=0.95) == {"a": 1}
    assert holm(changes({"b": 0.049, "a": 0.024}), level=0.95) == {"b": 1, "a": 1}


def test_signs_and_order_are_kept():
    both = changes({"rose": 0.001}) | changes({"fell": 0.0001}, sign=-1)
    assert list(holm(both, level=0.95).items()) == [("rose", 1), ("fell", -1)]
    assert holm({}, level=0.95) == {}


ERROR = 0.025
PILOT = [1.0] * 6 + [-1.0] * 2 + [0.0] * 32


def told(population, rows, *, against=0.0, trials=200, seed=0):
    """How often so many rows of a population are told from a value."""
    hits = 0
    for trial in range(trials):
        rng = np.random.default_rng([seed, trial])
        drawn = rng.choice(population, size=rows)
        if set(population) <= {-1.0, 0.0, 1.0}:
            a, b = (drawn > 0).astype(float), (drawn < 0).astype(float)
            found = paired_difference(a.tolist(), b.tolist(), seed=0)
        else:
            found = paired_difference(
                np.clip(drawn, 0, 1).tolist(), np.clip(-drawn, 0, 1).tolist(), seed=0
            )
        hits += not found.low <= against <= found.high
    return hits / trials


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.usefixtures("few_resamples")
def test_as_many_rows_as_are_named_tell_in_four_of_five_cases(sign):
    pilot = [sign * value for value in PILOT]
    named = rows_needed(pilot, error=ERROR)
    assert named == 160
    assert 0.7 <= told(pilot, named) <= 0.9
    assert told(pilot, named // 4) < 0.5


@pytest.mark.usefixtures("few_resamples")
def test_graded_rows_are_counted_by_their_spread():
    rng = np.random.default_rng(1)
    pilot = (rng.normal(0.05, 0.3, size=40)).clip(-1, 1)
    pilot = (pilot - pilot.mean() + 0.05).tolist()
    named = rows_needed(pilot, error=ERROR)
    assert 0.7 <= told(pilot, named) <= 0.9
    half = rows_needed([value / 2 for value in pilot], error=ERROR)
    assert half == named  # mean and spread shrink alike
    near = rows_needed([value - 0.03 for value in pilot], error=ERROR)
    assert near > 4 * named


@pytest.mark.usefixtures("few_resamples")
def test_a_value_other_than_none_takes_more_rows_the_nearer_it_is():
    none, near = (rows_needed(PILOT, error=ERROR, against=value) for value in (0.0, 0.05))
    assert near > 3 * none
    beyond = rows_needed(PILOT, error=ERROR, against=0.3)
    assert told(PILOT, beyond, against=0.3) >= 0.7


def test_more_is_asked_for_where_less_may_be_wrong():
    assert rows_needed(PILOT, error=0.001) > rows_needed(PILOT, error=ERROR)
    assert rows_needed(PILOT, error=ERROR, power=0.95) > rows_needed(PILOT, error=ERROR)


def test_no_number_is_named_where_none_would_do():
    assert rows_needed([1.0, -1.0, 0.0], error=ERROR) is None
    assert rows_needed([0.0] * 30, error=ERROR) is None
    tiny = [0.5, -0.5] * 500 + [0.5]
    assert rows_needed(tiny, error=ERROR) is None
    assert rows_needed([0.5, -0.5] * 50 + [0.5], error=ERROR) <= MAX_ROWS


def test_rows_that_all_agree_still_need_company():
    assert 4 <= rows_needed([1.0, 1.0], error=ERROR) <= 20
    assert 4 <= rows_needed([0.5, 0.5], error=ERROR) <= 40
    assert rows_needed([0.3], error=ERROR) > 1


def arms(rng, rows, **shares):
    """0/1 scores of the same rows that hang together."""
    factor = rng.standard_normal(rows)
    normal = {arm: 0.6 * factor + 0.8 * rng.standard_normal(rows) for arm in shares}
    return {
        arm: (normal[arm] < NormalDist().inv_cdf(share)).astype(float).tolist()
        for arm, share in shares.items()
    }


def split(scores):
    return scores["tuned"], {arm: rows for arm, rows in scores.items() if arm != "tuned"}


def test_with_one_other_arm_it_is_the_paired_difference():
    tuned, others = split(arms(np.random.default_rng(0), 80, tuned=0.6, base=0.5))
    gain = gain_over_best(tuned, others, seed=0)
    assert gain.difference == paired_difference(tuned, others["base"], seed=0)
    assert gain.against == "base"


def test_the_arm_that_scored_best_is_named_and_the_least_gain_is_told():
    tuned, others = split(arms(np.random.default_rng(1), 400, tuned=0.9, a=0.1, b=0.6, c=0.3))
    gain = gain_over_best(tuned, others, seed=0)
    own = paired_difference(tuned, others["b"], seed=0)
    assert (gain.against, gain.difference.mean) == ("b", own.mean)
    assert gain.difference.low == own.low
    # arms that are clearly worse widen the upper limit by what leaving them out costs only
    assert own.high < gain.difference.high < own.high + 0.1 * (own.high - own.mean)


def test_the_lower_limit_is_the_least_of_all_arms():
    rows = 60
    tuned = [1.0] * 40 + [0.0] * 20
    steady = [1.0] * 30 + [0.0] * 30  # never better than tuned where tuned fails
    noisy = [1.0] * 9 + [0.0] * 31 + [1.0] * 20
    assert sum(noisy) < sum(steady) < sum(tuned)
    gain = gain_over_best(tuned, {"steady": steady, "noisy": noisy}, seed=0)
    lows = {
        name: paired_difference(tuned, other, seed=0).low
        for name, other in (("steady", steady), ("noisy", noisy))
    }
    assert gain.against == "steady"
    assert lows["noisy"] < 0 < lows["steady"]
    assert gain.difference.low == lows["noisy"]
    assert gain.difference.n == rows


def test_of_several_equal_arms_the_luckiest_brings_no_false_no():
    """Against the best of three equal arms the plain interval lies below 0 too often."""
    trials, false = 300, {"plain": 0, "gain": 0}
    for trial in range(trials):
        rng = np.random.default_rng([2, trial])
        tuned, *others = (rng.random((4, 100)) < 0.5).astype(float).tolist()
        gain = gain_over_best(tuned, dict(zip("abc", others, strict=True)), seed=0)
        best = max(others, key=sum)
        false["plain"] += paired_difference(tuned, best, seed=0).high < 0
        false["gain"] += gain.sign == -1
    assert false["gain"] / trials <= 0.025 + 0.018 < false["plain"] / trials


def test_the_rows_that_are_needed_are_those_of_the_arm_that_needs_most():
    tuned = [1.0] * 24 + [0.0] * 16
    near, far = [1.0] * 20 + [0.0] * 4 + [1.0] + [0.0] * 15, [0.0] * 40
    alone = {
        name: gain_over_best(tuned, {name: rows}, seed=0).rows_needed
        for name, rows in (("near", near), ("far", far))
    }
    assert alone["far"] is None  # it tells already
    assert gain_over_best(tuned, {"near": near, "far": far}, seed=0).rows_needed == alone["near"]
    even = gain_over_best(tuned, {"tuned again": tuned}, seed=0)
    assert (even.sign, even.rows_needed) == (0, None)


def test_a_loss_that_cannot_be_told_names_rows_too():
    base = [1.0] * 22 + [0.0] * 18
    worse = [0.0] * 4 + [1.0] * 18 + [1.0] + [0.0] * 17
    gain = gain_over_best(worse, {"base": base}, seed=0)
    assert gain.sign == 0
    assert gain.rows_needed > 40


def test_the_sign_is_the_side_of_0_that_the_whole_interval_lies_on():
    rows = 50
    ones, none = [1.0] * rows, [0.0] * rows
    assert gain_over_best(ones, {"base": none}, seed=0).sign == 1
    assert gain_over_best(none, {"base": ones}, seed=0).sign == -1


def test_without_another_arm_there_is_no_gain():
    with pytest.raises(ValueError, match="no other arm"):
        gain_over_best([1.0], {}, seed=0)


SCORES = {
    "json": {"base": [0, 0, 1, 0], "prompted": [1, 0, 1, 0], "tuned": [1, 1, 1, 0]},
    "label": {"base": [0, 1, 0, 0], "tuned": [0, 1, 1, 1]},
}


def test_each_arm_and_difference_is_the_interval_of_its_rows():
    summary = summarize(SCORES, seed=0, level=0.9)
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
    assert [check.name for check in summarize(SCORES, seed=0).checks] == ["json", "label"]
    backwards = dict(reversed(SCORES.items()))
    assert [check.name for check in summarize(backwards, seed=0).checks] == ["label", "json"]


def test_a_gain_is_a_positive_difference():
    json_check = summarize(SCORES, seed=0).checks[0]
    assert json_check.differences["base"].mean == 0.5
    assert json_check.differences["prompted"].mean == 0.25


def test_rows_without_a_score_are_left_out_and_pairs_need_both():
    scores = {"a": {"base": [0, None, 1, 0], "tuned": [1, 1, None, 0], "prompted": [None] * 4}}
    (check,) = summarize(scores, seed=0).checks
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
    summary = summarize(scores, seed=0)
    assert summary.gain.against == "prompted"
    others = {name: rows for name, rows in scores["label"].items() if name != "tuned"}
    assert summary.gain == gain_over_best(scores["label"]["tuned"], others, seed=0)
    # json rose against the arm that the gain is over, though it fell against the base
    assert summary.changed == {"json": 1}


def test_other_checks_that_rose_or_fell_are_named():
    flat = {"base": arm(50, 50), "tuned": arm(50, 50)}
    rose = {"base": arm(10, 90), "tuned": arm(90, 10)}
    fell = {"base": arm(90, 10), "tuned": arm(10, 90)}
    assert summarize({"a": flat, "b": rose, "c": fell}, seed=0).changed == {"b": 1, "c": -1}
    assert summarize({"a": rose, "b": rose, "c": fell}, seed=0).changed == {"b": 1, "c": -1}


def test_several_other_checks_are_read_together():
    rose = {"base": arm(10, 90), "tuned": arm(90, 10)}
    barely = {"base": arm(10, 30), "tuned": arm(5, 35)}  # 5 lost, none gained: p = 0.025
    flat = {"base": arm(20, 20), "tuned": arm(20, 20)}
    assert summarize({"a": rose, "b": barely}, seed=0).changed == {"b": -1}
    assert summarize({"a": rose, "b": barely, "c": flat, "d": flat}, seed=0).changed == {}


def test_one_that_rose_where_the_first_did_not_is_read_together_with_it():
    flat = {"base": arm(20, 20), "tuned": arm(20, 20)}
    rose = {"base": arm(5, 35), "tuned": arm(35, 5)}
    barely = {"base": arm(5, 35), "tuned": arm(10, 30)}  # p = 0.025
    assert summarize({"a": rose, "b": barely}, seed=0).changed == {"b": 1}
    assert summarize({"a": flat, "b": barely}, seed=0).changed == {}


def test_without_another_arm_there_is_nothing_to_compare():
    summary = summarize({"json": {"tuned": [1.0, 0.0]}}, seed=0)
    assert (summary.gain, summary.changed) == (None, {})


def test_graded_scores_are_told_from_passes():
    graded = {"rouge": {"base": [0.0, 1.0], "tuned": [0.5, 1.0]}}
    assert summarize(graded, seed=0).checks[0].graded
    assert not summarize(SCORES, seed=0).checks[0].graded
