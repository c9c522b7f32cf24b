"""The gap between training and held-out rows: simulated truth is covered, and order is kept."""

import numpy as np
import pytest

from tunesmith.evaluate.overtuning.gap import RowLosses, difference_of_means, gap_of


def test_means_and_signs():
    found = gap_of(RowLosses([0.1, 0.2], [5.0, 6.0]), RowLosses([1.0, 1.4], [5.0, 5.0]), seed=0)
    assert (found.train, found.held) == pytest.approx((0.15, 1.2))
    assert found.gap.mean == pytest.approx(1.05)
    assert found.gap.low < 1.05 < found.gap.high
    assert found.train_change.mean == pytest.approx(-5.35)
    assert found.held_change.mean == pytest.approx(-3.8)


def test_without_a_base_the_gap_is_there_and_the_changes_are_not():
    found = gap_of(RowLosses([0.1, 0.2]), RowLosses([1.0, 1.4]), seed=0)
    assert found.train_change is None
    assert found.to_json()["held_out_change"] is None
    assert found.gap.mean == pytest.approx(1.05)


def test_equal_losses_have_an_interval_without_width():
    found = gap_of(RowLosses([0.1] * 5), RowLosses([0.4] * 5), seed=0)
    assert (found.gap.low, found.gap.high) == pytest.approx((0.3, 0.3))


def test_one_row_is_refused():
    with pytest.raises(ValueError, match="two rows"):
        gap_of(RowLosses([0.1]), RowLosses([1.0, 1.4]), seed=0)


def test_skewed_losses_are_covered_as_often_as_promised():
    repeats, missed_low, missed_high = 200, 0, 0
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        a = (rng.lognormal(-2, 1.2, 60)).tolist()
        b = (rng.lognormal(-1, 1.2, 60)).tolist()
        truth = float((np.exp(-1) - np.exp(-2)) * np.exp(0.72))
        found = difference_of_means(a, b, seed=0, resamples=300)
        missed_low += found.low > truth
        missed_high += found.high < truth
    # a lower limit that is too high would be a false alarm; an upper one only hides
    assert missed_low / repeats <= 0.025 + 2 * (0.025 * 0.975 / repeats) ** 0.5
    assert missed_high / repeats <= 0.10


@pytest.mark.parametrize("swap", [False, True])
def test_either_side_alone_makes_the_gap_unsure(swap):
    sure, unsure = [1.0] * 20, [0.2, 0.4, 0.9, 2.1] * 5
    a, b = (unsure, sure) if not swap else (sure, unsure)
    found = difference_of_means(a, b, seed=0)
    assert found.low < found.mean - 0.1
    assert found.high > found.mean + 0.1


def test_two_unsure_sides_make_it_less_sure_than_one():
    rows = [0.2, 0.4, 0.9, 2.1] * 5
    one = difference_of_means(rows, [1.0] * 20, seed=0)
    two = difference_of_means(rows, [0.1, 1.5] * 10, seed=0)
    assert two.high - two.low > one.high - one.low
