"""Which checkpoint is the best, by held-out losses and by answers to training rows."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.training.test_loop import resumed, run
from tests.training.tiny import plan, tiny_job
from tunesmith.core.progress import Cancelled
from tunesmith.training import held_out
from tunesmith.training.checkpoint import State
from tunesmith.training.events import Ended, HeldOut
from tunesmith.training.held_out import AS_GOOD, PASSED, held_out_loss, is_better

SHARES = st.integers(0, 48).map(lambda n: n / 48)
LOSSES = st.integers(1, 40).map(lambda n: n / 10)
PASSES = st.lists(st.tuples(LOSSES, SHARES), min_size=1, max_size=12)


def best_of(passes):
    """The best of these losses and shares, asked one after another, and the number of each."""
    state, best = State(step=0, tokens=0, train_loss=math.nan), 0
    for number, (loss, passed) in enumerate(passes):
        if is_better(state, loss, passed):
            best = number
            state = replace(state, best_loss=loss, best_passed=passed)
        known = [each for each in (state.top_passed, passed) if each is not None]
        state = replace(state, top_passed=max(known, default=None))
    return best


@given(st.lists(LOSSES, min_size=1, max_size=12))
def test_without_answers_it_is_the_first_of_the_lowest_loss(losses):
    assert best_of([(loss, None) for loss in losses]) == losses.index(min(losses))


@given(PASSES)
def test_its_answers_are_never_clearly_worse_than_those_of_another(passes):
    _, passed = passes[best_of(passes)]
    assert passed >= max(share for _, share in passes) - AS_GOOD - 1e-9


@given(PASSES)
def test_of_those_that_answer_as_well_as_itself_it_has_the_lowest_loss(passes):
    best = best_of(passes)
    later = [loss for loss, passed in passes[best:] if passed >= passes[best][1]]
    assert passes[best][0] == min(later)


def test_a_loss_that_is_no_number_is_never_the_best():
    state = State(step=0, tokens=0, train_loss=math.nan)
    assert not is_better(state, math.nan, 1.0)
    assert not is_better(replace(state, best_loss=1.0, best_passed=0.0), math.inf, 1.0)


def test_rows_are_answered_until_they_pass_and_where_the_loss_is_lower(tmp_path, monkeypatch):
    losses = [1.5, 1.4, 1.6, 1.7, 1.8, 1.3, 1.9]
    shares = [0.5, 0.5, 0.8, PASSED + 0.01, None, 0.9, None]
    job, seen, asked = tiny_job(tmp_path, evaluate_steps=1, patience=3, save_steps=100), [], []

    def loss(_job, _rows, **_settings):
        seen.append(losses[len(seen)])
        return seen[-1]

    def passed():
        asked.append(shares[len(seen) - 1])
        return asked[-1]

    monkeypatch.setattr(held_out, "held_out_loss", loss)
    events = run(replace(job, passed=passed), plan(steps=7))
    held = [(e.step, e.best, e.passed) for e in events if isinstance(e, HeldOut)]
    assert held == [
        (1, True, 0.5),
        (2, True, 0.5),
        (3, True, 0.8),
        (4, True, PASSED + 0.01),
        (5, False, None),
        (6, False, 0.9),
        (7, False, None),
    ]
    assert asked == [share for share in shares if share is not None]
    assert events[-1] == Ended(7, "early")


def test_a_stop_while_rows_are_answered_leaves_the_held_out_loss_due(tmp_path):
    shares = {1: 0.5, 2: 0.9, 3: 0.4}

    def job(folder, *, stops):
        made = tiny_job(folder, evaluate_steps=3, save_steps=100)
        count = []

        def passed():
            count.append(None)
            if stops and len(count) == 2:
                raise Cancelled
            return shares[len(count)]

        return replace(made, passed=passed)

    whole = [e for e in run(job(tmp_path / "a", stops=False), plan()) if isinstance(e, HeldOut)]
    first = run(job(tmp_path / "b", stops=True), plan())
    assert first[-1] == Ended(6, "stopped")
    second = job(tmp_path / "b", stops=False)
    shares = {1: 0.9, 2: 0.4}
    state, optimizer = resumed(second)
    assert (state.best_passed, state.top_passed, state.hold_due) == (0.5, 0.5, True)
    rest = run(second, plan(), state=state, optimizer=optimizer)
    assert [e for e in rest if isinstance(e, HeldOut)] == whole[1:]


def test_rows_are_answered_by_the_weights_whose_loss_is_told(tmp_path):
    """By the average of them, where one is kept."""
    job, asked = tiny_job(tmp_path, average_steps=3, evaluate_steps=4), []

    def passed():
        asked.append(held_out_loss(job, job.held, tokens=25))
        return 0.5

    events = run(replace(job, passed=passed), plan())
    assert asked == [e.loss for e in events if isinstance(e, HeldOut)]
