"""The number of rows that would tell: they do, and no advice is given where there is none."""

import numpy as np
import pytest

from tunesmith.evaluate.interval import paired_difference
from tunesmith.evaluate.rows_needed import MOST_ROWS, rows_needed

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
                np.clip(drawn, 0, 1).tolist(), np.clip(-drawn, 0, 1).tolist(), seed=0, resamples=300
            )
        hits += not found.low <= against <= found.high
    return hits / trials


@pytest.mark.parametrize("sign", [1, -1])
def test_as_many_rows_as_are_named_tell_in_four_of_five_cases(sign):
    pilot = [sign * value for value in PILOT]
    named = rows_needed(pilot, error=ERROR)
    assert named == 160
    assert 0.7 <= told(pilot, named) <= 0.9
    assert told(pilot, named // 4) < 0.5


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
    assert rows_needed([0.5, -0.5] * 50 + [0.5], error=ERROR) <= MOST_ROWS


def test_rows_that_all_agree_still_need_company():
    assert 4 <= rows_needed([1.0, 1.0], error=ERROR) <= 20
    assert 4 <= rows_needed([0.5, 0.5], error=ERROR) <= 40
    assert rows_needed([0.3], error=ERROR) > 1
