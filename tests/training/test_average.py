"""The moving average of what is trained, against the weights of every step kept one by one."""

import pytest
import torch

from tests.training.test_loop import resumed, run
from tests.training.tiny import METHODS, adam, plan, tensors, tiny_job
from tunesmith.core.progress import SILENT
from tunesmith.training import average, checkpoint
from tunesmith.training.events import Ended, HeldOut, StepDone
from tunesmith.training.held_out import held_out_loss
from tunesmith.training.job import Member
from tunesmith.training.loop import train

STEPS = 9
WINDOW = 3


def trajectory(job):
    """The weights after each step, and the member that took them."""
    member, seen = Member(job, plan(STEPS), adam(job)), []
    for _, event in train([member]):
        if isinstance(event, StepDone):
            seen.append(tensors(job))
    return member, seen


def reference(seen, *, window):
    """The average after each step, by its definition."""
    found, now = [], None
    for step, weights in enumerate(seen, start=1):
        share = 1 / max(1, min(window, step, STEPS - step))
        now = weights if now is None else {n: now[n] + share * (weights[n] - now[n]) for n in now}
        found.append(now)
    return found


@pytest.mark.parametrize("window", [1, WINDOW, 100])
@pytest.mark.parametrize("method", METHODS)
def test_held_out_losses_are_those_of_the_average(tmp_path, method, window):
    plain = tiny_job(tmp_path / "a", method)
    _, seen = trajectory(plain)
    averages = reference(seen, window=window)
    job = tiny_job(tmp_path / "b", method, average_steps=window)
    held = {e.step: e.loss for e in run(job, plan(STEPS)) if isinstance(e, HeldOut)}
    assert held.keys() == {2, 4, 6, 8, 9}
    for step, loss in held.items():
        with torch.no_grad():
            for name, parameter in plain.adapter.parameters.items():
                parameter.copy_(averages[step - 1][name])
        plain.adapter.refresh()
        assert held_out_loss(plain, plain.held, tokens=25) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_an_average_changes_no_step(tmp_path, method):
    without, with_ = (tiny_job(tmp_path / str(n), method, average_steps=n) for n in (0, WINDOW))
    steps = [
        [e.loss for e in run(j, plan(STEPS)) if isinstance(e, StepDone)] for j in (without, with_)
    ]
    assert steps[0] == steps[1]
    for name, expected in tensors(without).items():
        assert torch.equal(tensors(with_)[name], expected), name


def test_a_window_of_one_step_is_no_average(tmp_path):
    without, with_ = (tiny_job(tmp_path / str(n), average_steps=n) for n in (0, 1))
    losses = [
        [e.loss for e in run(j, plan(STEPS)) if isinstance(e, HeldOut)] for j in (without, with_)
    ]
    assert losses[0] == losses[1]


def test_the_result_is_the_average(tmp_path):
    job = tiny_job(tmp_path, average_steps=WINDOW)
    member, _ = trajectory(job)
    for parameter in job.adapter.trained.values():
        member.adam.state[parameter]["average"] += 1  # else the last weights, at the end
    averages = {n: member.adam.state[p]["average"].clone() for n, p in job.adapter.trained.items()}
    member.end_training()
    for name, expected in averages.items():
        assert torch.equal(tensors(job)[name], expected), name


@pytest.mark.parametrize("optimizer", ["adamw", "adamw8bit"])
@pytest.mark.parametrize("stop_after", [1, 4, 5])
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_has_the_averages_of_the_unbroken_one(
    tmp_path, method, stop_after, optimizer
):
    settings = {"average_steps": WINDOW, "optimizer": optimizer}
    unbroken = tiny_job(tmp_path / "a", method, **settings)
    events = run(unbroken, plan(STEPS))
    first = tiny_job(tmp_path / "b", method, **settings)
    assert run(first, plan(STEPS), stop_after=stop_after)[-1] == Ended(stop_after, "stopped")
    second = tiny_job(tmp_path / "b", method, **settings)
    state, adam_ = resumed(second)
    rest = run(second, plan(STEPS), state=state, optimizer=adam_)
    losses = {e.step: e.loss for e in events if isinstance(e, HeldOut)}
    again = {e.step: e.loss for e in rest if isinstance(e, HeldOut)}
    assert again == {step: losses[step] for step in again}
    assert {step for step in losses if step > stop_after} <= again.keys()
    for name, expected in tensors(unbroken).items():
        assert torch.equal(tensors(second)[name], expected), name


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_that_is_put_back_has_the_held_out_loss_that_was_told(tmp_path, method):
    job = tiny_job(tmp_path, method, average_steps=WINDOW, keep_checkpoints=9)
    held = [e for e in run(job, plan(STEPS)) if isinstance(e, HeldOut)]
    folders = {e.step: checkpoint.folder_of(tmp_path / "checkpoints", e.step) for e in held}
    best = min(held, key=lambda e: e.loss)
    for step, loss, folder in [
        *((e.step, e.loss, folders[e.step]) for e in held),
        (best.step, best.loss, tmp_path / "checkpoints" / checkpoint.BEST),
    ]:
        checkpoint.put_back_(folder, job.adapter)
        job.adapter.refresh()
        found = held_out_loss(job, job.held, tokens=25, progress=SILENT)
        assert found == pytest.approx(loss, rel=1e-6), step


def test_weights_come_back_whatever_happens_meanwhile(tmp_path):
    job = tiny_job(tmp_path, average_steps=WINDOW)
    member, _ = trajectory(job)
    for parameter in job.adapter.trained.values():
        member.adam.state[parameter]["average"] += 1  # else the last weights, at the end
    before = tensors(job)

    def fail():
        with average.in_place(member.adam, job.adapter):
            assert all(torch.equal(now, before[n] + 1) for n, now in tensors(job).items())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    for name, expected in before.items():
        assert torch.equal(tensors(job)[name], expected), name
