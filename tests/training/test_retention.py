"""Retention documents in each step: drawn by seed and step, counted apart, alone as together."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import log_softmax

from tests.families import tiny_model
from tests.training.test_loop import resumed, run
from tests.training.test_together import SETTINGS, assert_each_as_alone, member
from tests.training.tiny import METHODS, adam, dataset, plan, tensors, tiny_job
from tunesmith.data.rows import TokenRow
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row, pack
from tunesmith.training.events import StepDone
from tunesmith.training.gradients import add_gradients, streams_of
from tunesmith.training.job import Member, Round
from tunesmith.training.measure import make_plan
from tunesmith.training.retention import Retention, teacher_states


def documents(count=7, seed=5):
    rows = dataset(count, seed=seed)
    return tuple(
        TokenRow(rows[i].ids, np.zeros_like(rows[i].weights), "retention", i) for i in range(count)
    )


def with_retention(job, *, share=0.6, kl_weight=0.7, seed=3):
    made = documents()
    states = teacher_states(job.engine, made)
    if not job.adapter.frozen_base:
        job.engine.base_head_weight = job.engine.head_weight.detach().clone()
    return replace(job, retention=Retention(made, states, kl_weight, share, seed))


def steps_of(events):
    return [event for event in events if isinstance(event, StepDone)]


@pytest.mark.parametrize("method", METHODS)
def test_micro_batches_add_up(method, tmp_path):
    """Losses and gradients of a step, whole and in parts, away from the start."""
    job = with_retention(tiny_job(tmp_path, method))
    run(job, plan(steps=3))
    found = []
    for tokens in (25, 1000):
        each = Round(
            Member(job, plan(tokens_per_micro_batch=tokens), adam(job)), job.steps(3), 3, 0
        )
        each.draw()
        each.member.drop_gradients()
        (loss,) = add_gradients([each])[0].values()
        grads = {name: p.grad.clone() for name, p in job.adapter.trained.items()}
        found.append((loss, grads))
    (small, theirs), (large, grads) = found
    assert small.task == pytest.approx(large.task, rel=1e-5)
    assert small.divergence == pytest.approx(large.divergence, rel=1e-4)
    assert small.divergence > 1e-5
    for name, grad in grads.items():
        torch.testing.assert_close(theirs[name], grad, rtol=1e-4, atol=1e-6)


def test_the_divergence_is_kl_from_base_to_tuned(tmp_path):
    job = with_retention(tiny_job(tmp_path))
    base = prepare_(tiny_model("llama", torch.float32))
    run(job, plan(steps=2))
    rows = next(job.steps(2))
    expected, count = 0.0, 0
    with torch.no_grad():
        for i in job.drawn(2, rows):
            ids = job.document(i).ids.tolist()
            arms = [(base, None), (job.engine, job.name)]
            logs, tuned = (
                log_softmax(
                    e.head.logits(e.hidden_states(pack([Row(ids, [0.0] * len(ids), a)]))), -1
                )
                for e, a in arms
            )
            expected += float((logs.exp() * (logs - tuned)).sum())
            count += len(ids)
    state, optimizer = resumed(job)
    event = steps_of(run(job, plan(steps=3), state=state, optimizer=optimizer))[0]
    assert event.step == 3
    assert event.divergence == pytest.approx(expected / count, rel=1e-3)


def test_stopped_and_resumed_equals_unbroken(tmp_path):
    unbroken, first, second = (
        with_retention(tiny_job(tmp_path / name)) for name in ("a", "b", "b")
    )
    run(unbroken, plan(steps=5))
    run(first, plan(steps=5), stop_after=3)
    state, optimizer = resumed(second)
    run(second, plan(steps=5), state=state, optimizer=optimizer)
    for name, expected in tensors(unbroken).items():
        assert torch.equal(tensors(second)[name], expected), name


def test_together_each_adapter_retains_as_it_does_alone(tmp_path):
    def made(name, engine, folder):
        each = member(name, engine, tmp_path / folder, tokens_per_micro_batch=100_000)
        number = list(SETTINGS).index(name)
        if number % 2 == 0:  # the others train without
            job = with_retention(each.job, share=0.3 + number / 10, seed=number)
            each.job = job
        return each

    engines = [prepare_(tiny_model("llama", torch.float32)) for _ in range(1 + len(SETTINGS))]
    assert_each_as_alone(SETTINGS, engines, made)


def test_what_is_drawn_follows_from_seed_and_step_and_fits_the_share():
    lengths = (3, 5, 8, 13, 21, 34)
    made = tuple(TokenRow(np.zeros(n, np.int32), np.zeros(n, np.float32), "", n) for n in lengths)
    retention = Retention(made, (), 1.0, 0.25, seed=4)
    drawn = [retention.drawn(step, tokens=200) for step in range(300)]
    assert drawn == [retention.drawn(step, tokens=200) for step in range(300)]
    assert drawn != [replace(retention, seed=5).drawn(step, tokens=200) for step in range(300)]
    totals = [sum(lengths[i] for i in each) for each in drawn]
    assert all(40 < total <= 50 for total in totals)
    assert {i for each in drawn for i in each} == set(range(6))
    assert retention.drawn(0, tokens=8) == (0,), "the shortest where none fits"


def test_a_step_with_what_is_retained_is_one_stream(tmp_path):
    """Two small ones take a fifth more time than one."""
    settings = {"rows_per_step": None, "tokens_per_step": 60}
    job = with_retention(tiny_job(tmp_path, **settings))
    made = make_plan(job, lr=0.1)
    assert made.tokens_per_micro_batch == 96
    each = Round(Member(job, made, adam(job)), job.steps(0), 0, 0)
    for _ in range(6):
        each.draw()
        assert each.retained
        assert len(streams_of([each], tokens=made.tokens_per_micro_batch)) == 1


def test_without_retention_nothing_is_reported(tmp_path):
    assert all(event.divergence is None for event in steps_of(run(tiny_job(tmp_path), plan(2))))


def test_a_divergence_that_is_retained_stays_smaller(tmp_path):
    kept, free = with_retention(tiny_job(tmp_path / "a"), kl_weight=20.0), tiny_job(tmp_path / "b")
    watched = with_retention(free, kl_weight=1e-9)
    last = [steps_of(run(job, plan(steps=30, lr=3e-3)))[-1].divergence for job in (kept, watched)]
    assert 0 < last[0] < last[1] / 3
    assert math.isfinite(last[1])
