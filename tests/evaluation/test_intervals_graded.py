"""Limits of graded scores: as wide as either method says, and honest with few or skewed rows."""

import numpy as np
import pytest
from scipy import stats

from tunesmith.evaluation.intervals import (
    bootstrap_limits,
    graded_limits,
    student_limits,
    student_quantile,
    tango_limits,
    unvaried_limits,
    wilson_limits,
)

SKEWED = (np.random.default_rng(5).beta(0.2, 4, size=40)).tolist()


def test_student_limits_are_scipys():
    found = stats.ttest_1samp(SKEWED, 0).confidence_interval(0.9)
    assert student_limits(SKEWED, level=0.9) == pytest.approx((found.low, found.high))
    assert student_quantile(0.975, 7) == pytest.approx(stats.t.ppf(0.975, 7))


@pytest.mark.parametrize("values", [SKEWED, [1 - value for value in SKEWED]])
def test_each_limit_is_the_outer_one_of_both_methods(values):
    student = student_limits(values, level=0.95)
    drawn = bootstrap_limits(values, seed=0, level=0.95)
    low, high = graded_limits(values, bounds=(0, 1), seed=0, level=0.95)
    assert low == pytest.approx(max(0, min(student[0], drawn[0])))
    assert high == pytest.approx(min(1, max(student[1], drawn[1])))
    assert (low, high) not in (student, drawn)  # here one method gives each side


def test_limits_never_leave_the_bounds():
    low, high = graded_limits([0.0, 0.0, 0.01], bounds=(0, 1), seed=0, level=0.95)
    assert low == 0.0 < high
    low, high = graded_limits([-1.0, -0.99, -1.0], bounds=(-1, 1), seed=0, level=0.95)
    assert low == -1.0 < high


@pytest.mark.usefixtures("few_resamples")
def test_false_alarms_stay_rare_where_the_bootstrap_alone_has_too_many():
    rng = np.random.default_rng(0)
    alarms = {"both": 0, "bootstrap": 0}
    trials = 300
    for trial in range(trials):
        a, b = rng.beta(0.2, 4, size=(2, 20))
        rows = (a - b).tolist()
        limits = {
            "both": graded_limits(rows, bounds=(-1, 1), seed=trial, level=0.95),
            "bootstrap": bootstrap_limits(rows, seed=trial, level=0.95),
        }
        for name, (low, high) in limits.items():
            alarms[name] += not low <= 0 <= high
    assert alarms["both"] / trials <= 0.06 < alarms["bootstrap"] / trials


def test_unvaried_limits_are_those_of_wilson_and_tango_where_both_exist():
    for n in (1, 10, 300):
        wilson = wilson_limits(n, n, level=0.95)
        assert unvaried_limits(1.0, n, bounds=(0, 1), level=0.95) == pytest.approx(wilson)
        tango = tango_limits(0, 0, n, level=0.95)
        assert unvaried_limits(0.0, n, bounds=(-1, 1), level=0.95) == pytest.approx(tango)
