"""What requests cost, and when training is repaid: small numbers by hand, no division by 0."""

import pytest

from tests.counting import Counting
from tests.runs.tiny import base_folder
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config.evaluate import PriceSettings
from tunesmith.core.progress import Cancelled
from tunesmith.evaluation.answering import CachedAnswer
from tunesmith.evaluation.arms import Arm
from tunesmith.evaluation.costs import (
    STEPS,
    Request,
    break_even,
    time_arms,
)
from tunesmith.generation.decoder import Decoder, Prompt

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


@pytest.fixture
def engine(tmp_path):
    return open_base(str(base_folder(tmp_path / "base")), dtype="float32").engine


class Clock:
    """Reading a prompt takes a second for each token, a step half a second."""

    def __init__(self, monkeypatch):
        self.time, self.calls = 0.0, []
        read, step = Decoder.read, Decoder.step

        def slow_read(decoder, prompts):
            tokens = sum(len(prompt.ids) for prompt in prompts.values())
            self.calls.append((len(prompts), tokens))
            self.time += tokens if len(self.calls) > 1 else 1000  # the first one warms up
            return read(decoder, prompts)

        def slow_step(decoder, tokens):
            self.time += 0.5
            return step(decoder, tokens)

        monkeypatch.setattr(Decoder, "read", slow_read)
        monkeypatch.setattr(Decoder, "step", slow_step)

    def __call__(self):
        return self.time


def arm(name, length, rows=4):
    return Arm(name, tuple(Prompt(tuple(range(3, 3 + length))) for _ in range(rows)))


def said(tokens, ended="stop", rows=4):
    return [CachedAnswer((5,) * tokens, ended)] * rows


def test_a_request_takes_its_prompt_and_then_its_answer(engine, monkeypatch):
    clock = Clock(monkeypatch)
    arms = {"a": arm("a", 7), "b": arm("b", 20)}
    answers = {"a": said(STEPS + 30), "b": said(4, "length")}
    found = time_arms(engine, arms, answers, rows=3, now=clock)
    # the stop token of `a` is one more step; the last token of `b` was the end
    assert found["a"].seconds_to_first_token == 7
    assert found["a"].seconds_per_answer == 7 + 0.5 * (STEPS + 30)
    assert found["b"].seconds_to_first_token == 20
    assert found["b"].seconds_per_answer == 20 + 0.5 * 3


def test_arms_take_turns_one_request_at_a_time_behind_a_warm_up(engine, monkeypatch):
    clock = Clock(monkeypatch)
    phase = Counting()
    time_arms(
        engine,
        {"a": arm("a", 7), "b": arm("b", 9)},
        {"a": said(1), "b": said(0)},
        rows=2,
        now=clock,
        phase=phase,
    )
    assert clock.calls == [(1, 7), (1, 9)] * 3
    assert phase.told == [(i, 6) for i in range(1, 7)]


def test_an_empty_answer_takes_the_first_token_only(engine, monkeypatch):
    found = time_arms(engine, {"a": arm("a", 7)}, {"a": said(0)}, rows=1, now=Clock(monkeypatch))
    assert found["a"].seconds_per_answer == found["a"].seconds_to_first_token == 7


def test_timing_is_cancelled_between_two_requests(engine):
    arms, answers = {"a": arm("a", 7)}, {"a": said(1)}
    with pytest.raises(Cancelled):
        time_arms(engine, arms, answers, rows=3, phase=Counting(limit=1))
    assert time_arms(engine, {}, {}, rows=3) == {}
