"""The verdict is seldom wrong where the truth is known: a quick part of the calibration's table."""

import numpy as np
import pytest
from benchmarks.verdict_calibration import Scenario, four, holds, scenarios, share, two

from tunesmith.evaluation.comparison import TUNED

QUICK = {
    ("no difference", "yes"),
    ("no difference", "no"),
    ("+10 points", "yes"),
    ("-10 points", "no"),
    ("3 checks, no difference", "rose"),
    ("3 checks, 1st +10, others none", "no"),
    ("4 equal arms", "no"),
}
FOUND = [each for each in scenarios() if (each.name, each.answer) in QUICK]


@pytest.mark.parametrize("scenario", FOUND, ids=lambda each: f"{each.name}: {each.answer}")
def test_answers_are_as_seldom_wrong_as_promised(scenario):
    repeats = 200
    found = share(scenario, repeats=repeats, correlation=0.3, seed=0)
    assert holds(scenario, found, repeats), found


@pytest.mark.parametrize("mean", [0.02, 0.98])
def test_few_graded_rows_near_the_ends_bring_no_false_yes(mean):
    scenario = Scenario("graded", 20, (two(mean, mean),), "yes", 0.05, True, graded=5.0)
    found = share(scenario, repeats=60, correlation=0.3, seed=1)
    assert holds(scenario, found, 60), found


def test_every_quick_scenario_is_in_the_table():
    assert {(each.name, each.answer) for each in FOUND} == QUICK


def test_simulated_arms_have_the_means_and_the_correlation_that_they_claim():
    scenario = Scenario("s", 40_000, (four((0.1, 0.5, 0.9), 0.5),), "yes", 0.05, True)
    (arms,) = scenario.scores(np.random.default_rng(0), 0.3).values()
    assert [np.mean(rows) for rows in arms.values()] == pytest.approx(
        [0.1, 0.5, 0.9, 0.5], abs=0.01
    )
    assert np.corrcoef(arms["prompted"], arms[TUNED])[0, 1] == pytest.approx(0.3, abs=0.02)
