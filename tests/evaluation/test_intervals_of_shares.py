"""Limits of shares hold the true share about as often as they say, at every size and edge."""

import math

import pytest

from tunesmith.evaluation.intervals import quantile_of, tango_limits, wilson_limits

LEVEL = 0.95


def test_wilson_limits_equal_the_published_example():
    # Newcombe 1998, Stat. Med. 17:857, table I: 81 of 263.
    assert wilson_limits(81, 263, level=LEVEL) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_wilson_limits_solve_the_score_equation():
    z = quantile_of(LEVEL)
    for limit in wilson_limits(7, 40, level=LEVEL):
        assert abs(7 / 40 - limit) == pytest.approx(z * math.sqrt(limit * (1 - limit) / 40))


@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_wilson_limits_keep_width_where_every_row_agrees(n):
    low, high = wilson_limits(0, n, level=LEVEL)
    assert low == 0.0 < high < 1.0
    assert wilson_limits(n, n, level=LEVEL) == pytest.approx((1 - high, 1.0))


@pytest.mark.parametrize("n", [5, 20, 60])
def test_wilson_limits_hold_the_true_share_as_often_as_they_say(n):
    shares = [i / 50 for i in range(1, 50)]
    limits = [wilson_limits(k, n, level=LEVEL) for k in range(n + 1)]
    held = [
        sum(
            math.comb(n, k) * share**k * (1 - share) ** (n - k)
            for k, (low, high) in enumerate(limits)
            if low <= share <= high
        )
        for share in shares
    ]
    assert sum(held) / len(held) == pytest.approx(LEVEL, abs=0.012)
    assert min(held) > 0.83  # the known dip at shares near 0 and 1


def outcomes(n):
    return [(gained, lost) for gained in range(n + 1) for lost in range(n + 1 - gained)]


@pytest.mark.parametrize("n", [6, 40])
def test_tango_limits_hold_the_true_difference_as_often_as_they_say(n):
    limits = {pair: tango_limits(*pair, n, level=LEVEL) for pair in outcomes(n)}
    held = []
    for gain, loss in [(0.05, 0.02), (0.1, 0.1), (0.3, 0.05), (0.5, 0.2), (0.7, 0.01), (0.2, 0.4)]:
        held.append(
            sum(
                math.comb(n, g)
                * math.comb(n - g, k)
                * gain**g
                * loss**k
                * (1 - gain - loss) ** (n - g - k)
                for (g, k), (low, high) in limits.items()
                if low <= gain - loss <= high
            )
        )
    assert LEVEL - 0.01 < sum(held) / len(held) < 0.99  # few rows err on the wide side
    assert min(held) > 0.92


def test_tango_limits_leave_zero_out_exactly_where_mcnemar_finds_a_change():
    z, n = quantile_of(LEVEL), 25
    for gained, lost in outcomes(n):
        low, high = tango_limits(gained, lost, n, level=LEVEL)
        statistic = abs(gained - lost) / math.sqrt(gained + lost) if gained + lost else 0.0
        assert (not low <= 0 <= high) == (statistic > z)


def test_tango_limits_turn_around_with_the_arms():
    for gained, lost in outcomes(9):
        low, high = tango_limits(gained, lost, 9, level=LEVEL)
        assert tango_limits(lost, gained, 9, level=LEVEL) == pytest.approx((-high, -low))
        assert -1.0 <= low <= (gained - lost) / 9 <= high <= 1.0


@pytest.mark.parametrize(("gained", "lost", "n"), [(0, 0, 30), (30, 0, 30), (0, 1, 1), (0, 0, 1)])
def test_tango_limits_keep_width_where_no_two_rows_differ(gained, lost, n):
    low, high = tango_limits(gained, lost, n, level=LEVEL)
    assert high - low > 0.05


def test_a_higher_level_and_fewer_rows_widen():
    narrow, wide = (tango_limits(8, 2, 40, level=level) for level in (0.8, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert tango_limits(4, 1, 20, level=0.8)[0] < narrow[0]


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_that_is_no_probability_is_refused(level):
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        wilson_limits(1, 2, level=level)
