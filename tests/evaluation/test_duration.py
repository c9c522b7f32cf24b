"""How long an evaluation will take: parts that are left, at a speed that is measured."""

import itertools
from dataclasses import replace

import pytest

from tests.runs.tiny import base_folder, config
from tunesmith.adapters.loaded_base import open_base
from tunesmith.core.progress import Notice, Progress
from tunesmith.evaluation import duration
from tunesmith.evaluation.duration import (
    FEW,
    MANY,
    READ_TOKENS,
    SPAN_TOKENS,
    SPANS,
    STEPS,
    Again,
    EvaluationWork,
    Speed,
    describe,
    expected_length,
    speed_of,
    to_answer,
    tokens_to_read,
)
from tunesmith.generation.decoder import Decoder, Prompt
from tunesmith.runs.run import train_run
from tunesmith.training.events import Planned

SPEED = Speed(read=0.01, scored=0.02, step=0.5, made=0.1)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return open_base(str(base_folder(tmp_path_factory.mktemp("base"))), dtype="float32").engine


def prompts(count, length=10):
    return [Prompt((1,) * length, draw=i, opening=str(i)) for i in range(count)]


def test_the_speed_tells_a_step_from_the_tokens_in_it(engine, monkeypatch):
    seconds = [0.0]

    def read(decoder, given):
        seconds[0] += 0.25 * sum(len(prompt.ids) for prompt in given.values())
        return real_read(decoder, given)

    def step(decoder, tokens):
        seconds[0] += 3.0 + 0.5 * len(tokens)
        return real_step(decoder, tokens)

    def scored(engine, spans, adapters):
        seconds[0] += 2.0 * sum(len(span.ids) for span in spans) * len(adapters)

    real_read, real_step = Decoder.read, Decoder.step
    monkeypatch.setattr(Decoder, "read", read)
    monkeypatch.setattr(Decoder, "step", step)
    monkeypatch.setattr(duration, "log_likelihoods", scored)
    found = speed_of(engine, prompts(3), now=lambda: seconds[0])
    assert (found.read, found.scored) == (0.25, 2.0)
    assert (found.step, found.made) == pytest.approx((3.0, 0.5))


def test_a_step_is_timed_at_the_length_of_the_prompts(engine, monkeypatch):
    seen, real = [], Decoder.step

    def step(decoder, tokens):
        seen.append({decoder.lengths[slot] for slot in tokens})
        return real(decoder, tokens)

    monkeypatch.setattr(Decoder, "step", step)
    speed_of(engine, prompts(2, 60) + prompts(2, 80))
    assert seen[0] == {70}


def test_measuring_the_speed_takes_a_small_part_of_an_evaluation():
    # of the tens of thousands of tokens that probes alone have
    assert MANY * READ_TOKENS + SPANS * SPAN_TOKENS + 2 * STEPS * (MANY + FEW) < 1500


def test_a_beginning_that_is_shared_is_read_once_by_kin():
    begin = tuple(range(3, 103))
    kin = [
        Prompt((*begin, 200 + i, 7), adapter) for i, adapter in itertools.product(range(3), "ab")
    ]
    assert tokens_to_read(kin) == 2 * (100 + 3 * 2)
    assert tokens_to_read([Prompt((5, 6, 7)), Prompt((5, 6, 8))]) == 6  # too little to share
    assert tokens_to_read([]) == 0


def test_answers_take_as_many_steps_as_the_longest_and_as_the_slots_ask_for(engine, monkeypatch):
    four = to_answer(prompts(4), 8.0, longest=10)
    # four prompts of ten tokens; the longest answer has ten; four answers of eight
    assert four.seconds(engine, SPEED) == pytest.approx(40 * 0.01 + 10 * 0.5 + 32 * 0.1)
    monkeypatch.setattr(duration, "slots_of", lambda *_, **__: 2)
    assert four.seconds(engine, SPEED) == pytest.approx(40 * 0.01 + 16 * 0.5 + 32 * 0.1)
    assert to_answer([], 8.0, longest=10).seconds(engine, SPEED) == 0
    often = to_answer(prompts(2), 8.0, longest=10, times=3)
    assert (len(often.prompts), often.read) == (6, 20), "what is asked several times is read once"


def test_who_was_trained_answers_as_the_data_does_and_the_base_at_greater_length():
    lengths = [expected_length(arm, 20, 80) for arm in ("tuned", "examples", "base", "prompted")]
    assert lengths == [20, 30, 60, 60]
    assert expected_length("tuned", 200, 100) == expected_length("base", 200, 100) == 100


def test_asking_again_ends_after_the_round_in_which_the_time_is_up(engine):
    each = [to_answer(prompts(1), 1.0, longest=1)]
    (one,) = each
    seconds = one.seconds(engine, SPEED)
    rounds = [each] * 5
    assert Again(rounds, most=10 * seconds).seconds(engine, SPEED) == pytest.approx(5 * seconds)
    assert Again(rounds, most=1.5 * seconds).seconds(engine, SPEED) == pytest.approx(2 * seconds)


def test_every_part_of_the_work_counts_and_a_search_for_a_scale_where_it_may_come(engine):
    answers = to_answer(prompts(4), 8.0, longest=10)
    parts = {
        "answers": [answers],
        "facts": [answers],
        "again": [Again([[answers]], most=60.0)],
        "scored": 100,
        "row_tokens": 100,
        "singles": (10, 100.0),
    }
    base = EvaluationWork()
    alone = [
        replace(base, **{name: part}).seconds(engine, SPEED)[0] for name, part in parts.items()
    ]
    assert all(alone)
    work = EvaluationWork(**parts, scaling=(100, [answers]))
    low, high = work.seconds(engine, SPEED)
    assert low == pytest.approx(sum(alone))
    assert high - low == pytest.approx(100 * 0.02 + answers.seconds(engine, SPEED))


def test_the_words_name_all_that_is_to_be_done():
    answers = to_answer(prompts(4), 8.0, longest=10)
    work = EvaluationWork(answers=[answers], scored=100)
    assert describe((3, 21), work, arms={"base": 4, "tuned": 4}) == (
        "the evaluation takes about 3 to 21 seconds: 8 answers, 4 of them known (base, tuned); "
        "100 tokens of probes"
    )
    more = replace(work, row_tokens=200, facts=[answers], again=[Again((), 90.0)] * 2)
    assert describe((130, 600), more, arms={"base": 4}) == (
        "the evaluation takes about 2 to 10 minutes: 4 answers (base); 100 tokens of probes; "
        "4 answers about facts; 200 tokens of rows for their losses; then at most 3 minutes of "
        "asking again"
    )


def test_a_run_says_before_its_first_step_what_its_evaluation_takes(tmp_path, monkeypatch):
    monkeypatch.setattr("tunesmith.evaluation.remaining.speed_of", lambda *_, **__: SPEED)
    events = []
    train_run(config(tmp_path), progress=Progress(events.append))
    (plan,) = (event for event in events if isinstance(event, Planned))
    told = [e.message for e in events if isinstance(e, Notice) and e.code == "judging"]
    assert plan.evaluation_seconds == plan.evaluation_seconds_most > 10
    assert told, "and again what is left, when it begins"
    events.clear()
    unchecked = config(tmp_path, evaluate={}, out=str(tmp_path / "unchecked"))
    train_run(unchecked, progress=Progress(events.append))
    (plan,) = (event for event in events if isinstance(event, Planned))
    assert plan.evaluation_seconds_most == 0, "without checks there is none"
