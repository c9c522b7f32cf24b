"""The gain over the best other arm: its own interval with one, no false answer with several."""

from statistics import NormalDist

import numpy as np
import pytest

from tunesmith.evaluate.best_arm import gain_over_best
from tunesmith.evaluate.interval import paired_difference


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
