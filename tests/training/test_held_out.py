"""Which checkpoint is the best, by held-out losses and by answers to training rows."""

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.test_loop import resumed, run
from tests.training.tiny import METHODS, plan, tensors, tiny_job
from tunesmith.core.progress import Cancelled
from tunesmith.training import checkpoint, held_out
from tunesmith.training.checkpoint import State
from tunesmith.training.events import Ended, HeldOut
from tunesmith.training.held_out import (
    CLEARLY_LOWER,
    HeldOutScores,
    held_out_loss,
    held_out_scores,
    is_better,
)

SHARES = st.integers(0, 48).map(lambda n: n / 48)
LOSSES = st.integers(1, 40).map(lambda n: n / 10)
PASSES = st.lists(st.tuples(LOSSES, SHARES), min_size=1, max_size=12)


def best_of(passes):
    """The number of the best of these (loss, share of answers, share of tokens), one by one."""
    state, best = State(step=0, tokens=0, train_loss=math.nan), 0
    for number, (loss, passed, accuracy) in enumerate(passes):
        if is_better(state, loss, passed, accuracy):
            best = number
            state = replace(state, best_loss=loss, best_passed=passed, best_accuracy=accuracy)
    return best


@given(st.lists(LOSSES, min_size=1, max_size=12))
def test_without_answers_it_is_the_first_of_the_lowest_loss(losses):
    assert best_of([(loss, None, None) for loss in losses]) == losses.index(min(losses))


@given(PASSES, st.booleans())
def test_with_shares_it_is_the_lowest_loss_of_those_that_have_most(passes, of_tokens):
    most = max(share for _, share in passes)
    lowest = min(loss for loss, share in passes if share == most)
    shares = [(loss, None, s) if of_tokens else (loss, s, None) for loss, s in passes]
    assert best_of(shares) == passes.index((lowest, most))


@given(st.lists(st.tuples(LOSSES, SHARES, SHARES), min_size=1, max_size=12))
def test_answers_come_before_tokens_and_tokens_before_the_loss(passes):
    best = max(passes, key=lambda each: (each[1], each[2], -each[0]))
    assert best_of(passes) == passes.index(best)


def test_a_loss_that_is_no_number_is_never_the_best():
    state = State(step=0, tokens=0, train_loss=math.nan)
    assert not is_better(state, math.nan, 1.0)
    assert not is_better(replace(state, best_loss=1.0, best_passed=0.0), math.inf, 1.0)


def test_rows_are_answered_from_the_first_higher_loss_until_they_pass(tmp_path, monkeypatch):
    """The best checkpoint's first, and those that could be better."""
    losses = iter([1.5, 1.4, 1.6, 1.7, 1.8, 1.3, 1.9])
    shares = [0.5, 0.8, 1.0, 0.85]
    job, asked = tiny_job(tmp_path, evaluate_steps=1, patience=3, save_steps=100), iter(shares)
    monkeypatch.setattr(
        held_out, "held_out_scores", lambda *_, **__: HeldOutScores(next(losses), 0.5)
    )
    events = run(replace(job, passed=lambda: next(asked)), plan(steps=7))
    held = [e for e in events if isinstance(e, HeldOut)]
    assert [(e.step, e.best, e.passed) for e in held] == [
        (1, True, None),
        (2, True, None),
        (3, True, 0.8),
        (4, True, 1.0),
        (5, False, None),
        (6, False, 0.85),
        (7, False, None),
    ]
    assert [(e.best_step, e.best_passed) for e in held if e.best_passed is not None] == [(2, 0.5)]
    assert next(asked, None) is None
    assert events[-1] == Ended(7, "early")


@pytest.mark.parametrize(
    ("gain", "last"),
    [(CLEARLY_LOWER / 4, 4), (CLEARLY_LOWER / 2.5, 12), (1.1 * CLEARLY_LOWER, 12)],
)
def test_gains_too_small_to_notice_end_a_run_and_the_lowest_loss_is_its_result(
    gain, last, tmp_path, monkeypatch
):
    """Small gains count together, as far as patience reaches."""
    losses = iter([1 - gain * number for number in range(12)])
    job = tiny_job(tmp_path, evaluate_steps=1, patience=3, save_steps=100)
    monkeypatch.setattr(
        held_out, "held_out_scores", lambda *_, **__: HeldOutScores(next(losses), 0.5)
    )
    events = run(job, plan(steps=12))
    held = [e for e in events if isinstance(e, HeldOut)]
    assert [e.step for e in held if e.best] == list(range(1, last + 1))
    assert events[-1] == Ended(last, "early" if last < 12 else "done")


def test_accuracy_is_the_share_of_labels_that_are_the_most_likely_by_their_weights(tmp_path):
    """Against one row after the other with all scores; and whatever the batches are."""
    job = tiny_job(tmp_path)
    run(job, plan(steps=60, lr=0.02))
    right = total = 0.0
    for i, row in enumerate(job.rows[i] for i in range(len(job.rows))):
        batch = job.batch([(i, row)])
        with torch.no_grad():
            scores = job.engine.head.logits(job.engine.hidden_states(batch)).float()
        for place, label, weight in zip(batch.label_rows, batch.labels, batch.weights, strict=True):
            right += float(weight) * bool(scores[place].argmax() == label)
            total += float(weight)
    assert 0 < right < total
    for tokens in (1, 25, 10_000):
        found = held_out_scores(job, job.rows, tokens=tokens)
        assert found.token_accuracy == pytest.approx(right / total, rel=1e-12)
        assert found.loss == pytest.approx(held_out_loss(job, job.rows, tokens=tokens), rel=1e-12)


SEEN = [(1.5, 0.6), (1.4, 0.7), (1.6, 0.7), (1.7, 0.8), (1.3, 0.75), (1.2, 0.8), (1.25, 0.7)]


@pytest.mark.parametrize(
    ("best_by", "best"),
    [
        ("token_accuracy", [True, True, False, True, False, True, False]),
        ("loss", [True, True, False, False, True, True, False]),
        ("auto", [True, True, False, False, True, True, False]),
    ],
)
def test_the_best_is_of_most_tokens_right_where_they_decide(tmp_path, monkeypatch, best_by, best):
    """Of as many that of the lowest loss; what was seen is told either way."""
    seen = iter(SEEN)
    job = tiny_job(tmp_path, evaluate_steps=1, save_steps=100, best_by=best_by)
    monkeypatch.setattr(held_out, "held_out_scores", lambda *_, **__: HeldOutScores(*next(seen)))
    held = [e for e in run(job, plan(steps=7)) if isinstance(e, HeldOut)]
    assert [(e.loss, e.token_accuracy) for e in held] == SEEN
    assert [e.best for e in held] == best
    state = checkpoint.read_state(tmp_path / "checkpoints" / checkpoint.BEST)
    assert (state.best_step, state.best_loss) == (6, 1.2)
    assert state.best_accuracy == (0.8 if best_by == "token_accuracy" else None)


def test_more_tokens_right_are_a_reason_to_train_further(tmp_path, monkeypatch):
    """Each time; a loss that falls by little is none."""
    shares = [0.5, 0.6, 0.6, 0.61, 0.61, 0.61, 0.61]
    seen = iter([(1 + n / 10, share) for n, share in enumerate(shares)])
    job = tiny_job(tmp_path, evaluate_steps=1, patience=3, save_steps=100, best_by="token_accuracy")
    monkeypatch.setattr(held_out, "held_out_scores", lambda *_, **__: HeldOutScores(*next(seen)))
    assert run(job, plan(steps=12))[-1] == Ended(7, "early")


def test_a_stop_while_rows_are_answered_leaves_the_held_out_loss_due(tmp_path, monkeypatch):
    """And the weights as they were, though the best checkpoint's were answered before."""

    def job(folder, losses, shares):
        made, told, said = tiny_job(folder, evaluate_steps=3), iter(losses), iter(shares)

        def passed():
            share = next(said)
            if share is None:
                raise Cancelled
            return share

        monkeypatch.setattr(
            held_out, "held_out_scores", lambda *_, **__: HeldOutScores(next(told), 0.5)
        )
        return replace(made, passed=passed)

    unbroken = job(tmp_path / "a", [1.0, 2.0, 3.0], [0.5, 0.9, 0.6])
    whole = [e for e in run(unbroken, plan()) if isinstance(e, HeldOut)]
    for stopped_at in (0, 1):  # in the best one's answers, in its own
        folder = tmp_path / f"b{stopped_at}"
        first = job(folder, [1.0, 2.0], [*[0.5] * stopped_at, None])
        assert run(first, plan())[-1] == Ended(6, "stopped")
        second = job(folder, [2.0, 3.0], [0.5, 0.9, 0.6])
        state, optimizer = resumed(second)
        assert (state.best_passed, state.hold_due) == (None, True)
        rest = run(second, plan(), state=state, optimizer=optimizer)
        assert [e for e in rest if isinstance(e, HeldOut)] == whole[1:]
        for name, expected in tensors(unbroken).items():
            assert torch.equal(tensors(second)[name], expected), name


@pytest.mark.parametrize("average_steps", [0, 2])
@pytest.mark.parametrize("method", METHODS)
def test_the_best_checkpoint_answers_and_training_does_not_notice(
    tmp_path, monkeypatch, method, average_steps
):
    losses, seen = [1.0, 2.0, 3.0], []
    settings = {"evaluate_steps": 3, "average_steps": average_steps}
    told = iter([*losses, *losses])
    monkeypatch.setattr(
        held_out, "held_out_scores", lambda *_, **__: HeldOutScores(next(told), 0.5)
    )
    plain, job = (tiny_job(tmp_path / name, method, **settings) for name in "ab")

    def passed():
        seen.append(tensors(job))
        return 0.5

    run(plain, plan())
    run(replace(job, passed=passed), plan())
    for name, expected in tensors(plain).items():
        assert torch.equal(tensors(job)[name], expected), name
    best = checkpoint.tensors_of(tmp_path / "b" / "checkpoints" / "best")
    for name, expected in best.items():
        assert torch.equal(seen[0][name], expected), name
    assert len(seen) == 3  # the best one's, and those of both higher losses


def test_rows_are_answered_by_the_weights_whose_loss_is_told(tmp_path, monkeypatch):
    """By the average of them, where one is kept."""
    job, asked = tiny_job(tmp_path, average_steps=3, evaluate_steps=3), []
    real, told = held_out_scores, []

    def rising(job, rows, **settings):
        told.append(real(job, rows, **settings).loss)
        return HeldOutScores(len(told), 0.5)

    def passed():
        asked.append(real(job, job.held, tokens=25).loss)
        return 0.5

    monkeypatch.setattr(held_out, "held_out_scores", rising)
    run(replace(job, passed=passed), plan())
    assert asked == told  # the first by what was kept of it


def test_a_checkpoint_of_a_version_with_another_rule_is_read(tmp_path):
    job = tiny_job(tmp_path)
    state = State(step=3, tokens=9, train_loss=1.0, best_loss=1.5, best_step=3, best_passed=0.8)
    checkpoint.save_best(tmp_path, state, job.adapter.parameters)
    path = tmp_path / checkpoint.BEST / checkpoint.STATE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"top_passed": 0.9}))
    assert checkpoint.read_state(path.parent) == state
