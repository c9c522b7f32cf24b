"""float16: the loss scale keeps small gradients, gives way to an overflow, and alters nothing."""

import math
from dataclasses import replace

import pytest
import torch

from tests.families import tiny_model
from tests.training.test_loop import resumed, run
from tests.training.tiny import METHODS, adam, plan, tensors, tiny_job
from tests.variants import SHAPES
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.training import loss_scale
from tunesmith.training.checkpoint import State
from tunesmith.training.gradients import add_gradients
from tunesmith.training.job import Member, Round

HALF = torch.float16


def job_in(dtype, folder, method="lora", family="llama"):
    job = tiny_job(folder, method, held=False)
    engine = prepare_(tiny_model(family, torch.float32).to(dtype), dtype)
    return replace(job, engine=engine, adapter=table.attach(engine, METHODS[method], seed=1))


def gradients_of(job, **changes):
    """The loss and the gradients of a first step, not clipped, and the state after it."""
    settings = job.settings.model_copy(update={"max_grad_norm": None})
    job = replace(job, settings=settings)
    member = Member(job, plan(), adam(job), State(0, 0, math.nan, **changes))
    each = Round(member, job.steps(0), 0, 0)
    each.draw()
    found, notices = add_gradients([each])
    loss, halvings = found[each], [notice for _, notice in notices if notice.code == "loss_scale"]
    grads = {name: p.grad.clone() for name, p in job.adapter.trained.items()}
    used = loss_scale.scale_now(each)
    began = loss_scale.scale_of(State(0, 0, math.nan, **changes), job.engine.compute_dtype)
    assert began == used * 2 ** len(halvings), "each is reported"
    return loss, grads, member.state


@pytest.mark.parametrize("family", SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_float16_has_the_gradients_of_float32(method, family, tmp_path):
    (_, wide, _), (_, half, _) = (
        gradients_of(job_in(dtype, tmp_path, method, family)) for dtype in (torch.float32, HALF)
    )
    for name, gradient in wide.items():
        assert (half[name] - gradient).norm() <= 0.03 * gradient.norm() + 1e-6, name


def test_without_a_scale_small_gradients_would_be_lost(tmp_path):
    """A scale below 1 is what a step of 2^18 times as many tokens would be without one."""
    _, wide, _ = gradients_of(job_in(torch.float32, tmp_path))
    lost = sum(_lost(job_in(HALF, tmp_path), wide, 2.0**-18).values())
    kept = sum(_lost(job_in(HALF, tmp_path), wide, loss_scale.FIRST).values())
    assert lost > 0.2
    assert kept < 0.01


def _lost(job, wide, scale):
    """By tensor, the share of gradients that are zero though they are not in float32."""
    _, half, _ = gradients_of(job, loss_scale=scale)
    return {
        name: float(((half[name] == 0) & (gradient != 0)).float().mean()) / len(wide)
        for name, gradient in wide.items()
    }


def test_an_overflow_halves_the_scale_until_the_gradients_are_numbers(tmp_path):
    job = job_in(HALF, tmp_path)
    expected, grads, _ = gradients_of(job)
    loss, found, state = gradients_of(job_in(HALF, tmp_path), loss_scale=2.0**24)
    assert 1 <= state.loss_scale < 2.0**24
    assert loss.task == pytest.approx(expected.task, rel=1e-6)
    for name, gradient in grads.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-2, atol=1e-4)


def test_the_scale_doubles_after_many_steps_without_an_overflow(monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWTH_STEPS", 3)
    state, scales = State(0, 0, 0.0), []
    for _ in range(6):
        state = loss_scale.advanced(state, HALF)
        scales.append(state.loss_scale / loss_scale.FIRST)
    assert scales == [1, 1, 2, 2, 2, 4]


def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setattr(loss_scale, "GROWTH_STEPS", 3)
    unbroken, first, second = (job_in(HALF, tmp_path / name) for name in "abb")
    run(unbroken, plan())
    run(first, plan(), stop_after=4)
    state, optimizer = resumed(second)
    assert state.loss_scale < loss_scale.FIRST, "it doubled, overflowed and was halved"
    run(second, plan(), state=state, optimizer=optimizer)
    for name, expected in tensors(unbroken).items():
        assert torch.equal(tensors(second)[name], expected), name


def test_other_formats_have_no_scale():
    for dtype in (torch.float32, torch.bfloat16):
        assert loss_scale.scale_of(State(0, 0, 0.0), dtype) == 1
        assert loss_scale.advanced(State(0, 0, 0.0), dtype) == State(0, 0, 0.0)
