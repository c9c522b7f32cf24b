"""Intervals of scores: paired where rows are shared, and never narrower than rows allow."""

import pytest

from tunesmith.evaluation.intervals import (
    mean_interval,
    paired_difference,
    student_quantile,
    tango_limits,
    wilson_limits,
)


@pytest.mark.parametrize("degrees", [1, 2, 7, 30, 999])
@pytest.mark.parametrize("probability", [0.5, 0.95, 0.975, 0.995])
def test_students_t_is_that_of_scipy(degrees, probability):
    special = pytest.importorskip("scipy.special", reason="scikit-learn brings it")
    right = special.stdtrit(degrees, probability)
    assert student_quantile(probability, degrees) == pytest.approx(right, rel=1e-14, abs=1e-14)


GRADED = [0.0, 0.25, 0.5, 0.75, 1.0] * 8


def test_the_mean_of_zeros_and_ones_has_wilson_limits():
    interval = mean_interval([1.0] * 9 + [0.0] * 3, seed=0)
    assert (interval.low, interval.high) == wilson_limits(9, 12, level=0.95)
    assert (interval.mean, interval.n) == (0.75, 12)


def test_the_difference_of_zeros_and_ones_has_tango_limits():
    a, b = [1, 1, 1, 0, 0, 1, 1], [0, 0, 1, 0, 1, 0, 0]
    interval = paired_difference(a, b, seed=0)
    assert (interval.low, interval.high) == tango_limits(4, 1, 7, level=0.95)
    assert interval.mean == pytest.approx(3 / 7)


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [1, 3, 200])
def test_scores_that_all_agree_keep_width_that_shrinks_with_rows(score, n):
    interval = mean_interval([score] * n, seed=0)
    more = mean_interval([score] * n * 2, seed=0)
    assert 0.0 <= interval.low <= interval.mean <= interval.high <= 1.0
    assert interval.high - interval.low > more.high - more.low > 0.0


def test_equal_arms_are_not_proven_equal():
    for rows in ([1.0, 0.0, 1.0] * 10, GRADED):
        interval = paired_difference(rows, rows, seed=0)
        assert interval.mean == 0.0
        assert interval.low < 0.0 < interval.high


def test_one_row_cannot_tell():
    for a, b in [(1.0, 0.0), (0.75, 0.25)]:
        interval = paired_difference([a], [b], seed=0)
        assert interval.low < 0.0 < interval.high


def test_pairing_finds_a_small_gain_that_separate_intervals_hide():
    base = GRADED
    gains = [0.01, 0.02, 0.04] * 14
    tuned = [min(1.0, score + gain) for score, gain in zip(base, gains, strict=False)]
    assert paired_difference(tuned, base, seed=0).low > 0.0
    assert mean_interval(tuned, seed=0).low < mean_interval(base, seed=0).high


def test_exchanged_arms_turn_the_interval_around():
    a = [score**2 for score in GRADED]
    forth, back = paired_difference(GRADED, a, seed=0), paired_difference(a, GRADED, seed=0)
    assert (back.mean, back.low, back.high) == pytest.approx((-forth.mean, -forth.high, -forth.low))


def test_the_seed_fixes_the_bootstrap():
    assert mean_interval(GRADED, seed=3) == mean_interval(GRADED, seed=3)


def test_scores_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="no scores"):
        mean_interval([], seed=0)
    with pytest.raises(ValueError, match=r"2 do not, the first 1\.5"):
        mean_interval([0.5, 1.5, float("nan")], seed=0)
    with pytest.raises(ValueError, match="same rows: 2 against 1"):
        paired_difference([0.0, 1.0], [1.0], seed=0)
