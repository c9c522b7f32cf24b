"""What requests cost, and when training is repaid: small numbers by hand, no division by 0."""

import itertools
from dataclasses import replace

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
    AnsweringWork,
    Request,
    Speed,
    break_even,
    describe,
    speed_of,
    time_arms,
    tokens_to_read,
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


def test_the_speed_is_that_of_prompts_read_and_answered_after_a_warm_up(engine, monkeypatch):
    clock = Clock(monkeypatch)
    prompts = [Prompt(tuple(range(3, 3 + n))) for n in (10, 20, 5)]
    assert speed_of(engine, prompts, now=clock) == Speed(read=1.0, made=0.5 / 3)


def test_a_beginning_that_is_shared_is_read_once_by_kin():
    begin = tuple(range(3, 103))
    prompts = [
        Prompt((*begin, 200 + i, 7), adapter) for i, adapter in itertools.product(range(3), "ab")
    ]
    assert tokens_to_read(prompts) == 2 * (100 + 3 * 2)
    assert tokens_to_read([Prompt((5, 6, 7)), Prompt((5, 6, 8))]) == 6  # too little to share
    assert tokens_to_read([]) == 0


def test_the_time_lies_between_answers_like_the_datas_and_the_longest():
    work = AnsweringWork(
        [Prompt((1,) * 10, draw=i) for i in range(4)], expected=5, longest=50, scored=100
    )
    low, high = work.seconds(Speed(read=0.01, made=0.1))
    assert low == pytest.approx(1.4 + 4 * 5 * 0.1)
    assert high == pytest.approx(1.4 + 4 * 50 * 0.1)
    text = describe((low, high), work, arms={"base": 4, "tuned": 4})
    assert text == (
        "the evaluation takes about 3 to 21 seconds: 8 answers, 4 of them known (base, tuned); "
        "100 tokens of probes"
    )
    again = describe((1, 2), replace(work, again=180), arms={"base": 4})
    assert again.endswith("; then at most 3 minutes of asking again")
    more = replace(work, row_tokens=200, facts=2)
    assert more.seconds(Speed(read=0.01, made=0.1))[0] == pytest.approx(low + 2 + 2 * 5 * 0.1)
    assert describe((1, 2), more, arms={"base": 4}).endswith(
        "100 tokens of probes; 2 answers about facts; 200 tokens of rows for their losses"
    )
    assert "about 2 to 10 minutes:" in describe((130, 600), work, arms={"base": 4})
    assert "about 1 second:" in describe((0.1, 0.2), work, arms={"base": 4})
