"""What requests cost, and when training is repaid: small numbers by hand, no division by 0."""

import pytest

from tunesmith.config.evaluate import PriceSettings
from tunesmith.evaluate.cost import Request, break_even

PRICES = PriceSettings(prompt=0.5, completion=2.0, training_hour=3.6)
LONG, SHORT = Request(300, 10, seconds=0.9), Request(100, 20, seconds=0.4)


def test_a_million_requests_cost_their_tokens():
    # 300 M prompt tokens at 0.5 a million, 10 M of answers at 2
    assert LONG.cost(PRICES) == 300 * 0.5 + 10 * 2.0
    assert LONG.cost(PriceSettings()) is None


def found(tuned=SHORT, other=LONG, *, prices=PRICES, seconds=100.0):
    return break_even(tuned, other, against="prompted", prices=prices, training_seconds=seconds)


def test_training_is_repaid_when_the_savings_reach_it():
    even = found()
    assert even.seconds_saved == pytest.approx(0.5)
    assert even.requests_by_time == 200
    assert even.training_cost == pytest.approx(0.1)
    assert even.saved_per_million == pytest.approx(80)
    assert even.requests_by_cost == 1250
    # one request fewer has not repaid it yet
    assert (even.requests_by_cost - 1) * 80 / 1e6 < 0.1 <= even.requests_by_cost * 80 / 1e6


def test_what_saves_nothing_is_never_repaid():
    even = found(LONG, SHORT)
    assert (even.requests_by_time, even.requests_by_cost) == (None, None)
    assert even.seconds_saved == pytest.approx(-0.5)
    assert found(LONG, LONG).requests_by_time is None


def test_what_is_not_known_is_not_guessed():
    assert found(Request(100, 20)).seconds_saved is None
    assert found(seconds=None).requests_by_time is None
    assert found(seconds=None).training_cost is None
    free = found(prices=PriceSettings(prompt=1, completion=1))
    assert (free.training_cost, free.requests_by_cost) == (None, None)
    assert free.saved_per_million == pytest.approx(190)
    assert found(prices=PriceSettings()).saved_per_million is None


def test_seconds_that_differ_less_than_requests_do_repay_nothing():
    noisy = Request(300, 10, seconds=0.9, quartiles=(0.7, 1.4))
    near = Request(100, 20, seconds=0.8, quartiles=(0.6, 0.9))
    even = found(near, noisy)
    limits = (even.seconds_saved_low, even.seconds_saved_high)
    assert limits == pytest.approx((0.7 - 0.9, 1.4 - 0.6))
    assert (even.seconds_saved, even.requests_by_time) == (pytest.approx(0.1), None)
    apart = Request(100, 20, seconds=0.4, quartiles=(0.3, 0.5))
    assert found(apart, noisy).requests_by_time == 200
