"""Contract 8: a stopped and resumed run ends as the unbroken one, bit for bit."""

import functools
import math

import pytest
import torch

from tests.training.tiny import METHODS, adam, plan, tensors, tiny_job
from tunesmith.core.errors import RunError
from tunesmith.core.progress import Progress
from tunesmith.training import checkpoint, held_out
from tunesmith.training.events import Ended, HeldOut, Saved, StepDone
from tunesmith.training.held_out import HeldOutScores, held_out_loss
from tunesmith.training.job import Member
from tunesmith.training.loop import train


def run(job, plan_, *, state=None, optimizer=None, stop_after=None):
    steps = 0

    def stop():
        return stop_after is not None and steps >= stop_after

    events = []
    member = Member(job, plan_, optimizer or adam(job), **({"state": state} if state else {}))
    for _, event in train([member], progress=Progress(cancelled=stop)):
        steps += isinstance(event, StepDone)
        events.append(event)
    if member.error is not None:
        raise member.error
    return events


def resumed(job):
    optimizer = adam(job)
    newest = checkpoint.newest(job.folder / "checkpoints")
    state, changed = checkpoint.restore_(newest, job.adapter.parameters, optimizer)
    job.adapter.refresh()
    assert not changed
    return state, optimizer


@pytest.mark.parametrize("stop_after", [1, 4, 5])
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(tmp_path, method, stop_after):
    unbroken = tiny_job(tmp_path / "a", method)
    events = run(unbroken, plan())
    assert events[-1] == Ended(9, "done")
    first = tiny_job(tmp_path / "b", method)
    assert run(first, plan(), stop_after=stop_after)[-1] == Ended(stop_after, "stopped")
    second = tiny_job(tmp_path / "b", method)
    state, optimizer = resumed(second)
    rest = run(second, plan(), state=state, optimizer=optimizer)
    for name, expected in tensors(unbroken).items():
        assert torch.equal(tensors(second)[name], expected), name
    steps = [e for e in events if isinstance(e, StepDone)]
    again = [e for e in rest if isinstance(e, StepDone)]
    assert [e.loss for e in again] == [e.loss for e in steps][stop_after:]
    assert [e.tokens for e in again] == [e.tokens for e in steps][stop_after:]


def stopped_in_a_held_out_loss(folder, *, at):
    """A run that is stopped in the middle of the held-out loss that follows step ``at``."""
    job, done = tiny_job(folder), []
    real = held_out._sums

    def counted(*args):
        done.append(args)
        return real(*args)

    steps = []
    member = Member(job, plan(), adam(job))
    stop = Progress(cancelled=lambda: bool(done) and len(steps) == at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "_sums", counted)
        for _, event in train([member], progress=stop):
            if isinstance(event, StepDone):
                steps.append(event)
                done.clear()
    assert member.ended == Ended(at, "stopped")
    assert len(done) == 1, "one batch of it was computed"
    return member


@pytest.mark.parametrize("at", [4, 9])
def test_a_stop_in_a_held_out_loss_leaves_it_due(tmp_path, at):
    unbroken = tiny_job(tmp_path / "a")
    events = [e for e in run(unbroken, plan()) if isinstance(e, HeldOut | StepDone)]
    assert stopped_in_a_held_out_loss(tmp_path / "b", at=at).state.hold_due
    second = tiny_job(tmp_path / "b")
    state, optimizer = resumed(second)
    rest = run(second, plan(), state=state, optimizer=optimizer)
    losses = [(e.step, e.loss) for e in events if isinstance(e, HeldOut) and e.step >= at]
    assert [(e.step, e.loss) for e in rest if isinstance(e, HeldOut)] == losses
    assert rest[-1] == Ended(9, "done")
    for name, expected in tensors(unbroken).items():
        assert torch.equal(tensors(second)[name], expected), name


@pytest.mark.parametrize("method", METHODS)
def test_steps_move_every_tensor_that_is_trained_and_no_other(tmp_path, method):
    job = tiny_job(tmp_path, method, held=False)
    before = tensors(job)
    run(job, plan(steps=3))
    moved = {name for name, now in tensors(job).items() if not torch.equal(now, before[name])}
    assert moved == job.adapter.trained.keys()


def test_an_evaluation_between_steps_changes_nothing(tmp_path):
    with_, without = (tiny_job(tmp_path / str(h), "lora dropout", held=h) for h in (True, False))
    assert any(isinstance(e, HeldOut) for e in run(with_, plan()))
    assert not any(isinstance(e, HeldOut) for e in run(without, plan()))
    for name, expected in tensors(with_).items():
        assert torch.equal(tensors(without)[name], expected)


@pytest.mark.parametrize("method", ["lora", "full", "projection"])
def test_micro_batch_size_does_not_change_the_step(tmp_path, method):
    one, many = (tiny_job(tmp_path / str(i), method, held=False) for i in range(2))
    run(one, plan(steps=3, tokens_per_micro_batch=10_000))
    run(many, plan(steps=3, tokens_per_micro_batch=1, recompute="layers"))
    for name, expected in tensors(one).items():
        torch.testing.assert_close(tensors(many)[name], expected, rtol=1e-4, atol=1e-5)


def test_training_lowers_the_loss_on_its_own_rows(tmp_path):
    job = tiny_job(tmp_path, "full", held=False)
    before = held_out_loss(job, job.rows, tokens=30)
    run(job, plan(steps=40, lr=3e-3))
    assert held_out_loss(job, job.rows, tokens=30) < before - 1


def test_held_out_loss_does_not_depend_on_the_micro_batches(tmp_path):
    job = tiny_job(tmp_path)
    whole = held_out_loss(job, job.held, tokens=10_000)
    assert held_out_loss(job, job.held, tokens=1) == pytest.approx(whole, rel=1e-6)


def test_the_newest_checkpoints_and_the_best_are_kept(tmp_path):
    job = tiny_job(tmp_path, keep_checkpoints=2)
    events = run(job, plan())
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["best", "step-00000008", "step-00000009"]
    best = min((e for e in events if isinstance(e, HeldOut)), key=lambda e: e.loss)
    held = [e for e in events if isinstance(e, HeldOut) and e.best]
    assert held[-1].step == best.step
    assert [e.step for e in events if isinstance(e, Saved)] == [2, 4, 6, 8, 9]


def test_early_stopping_ends_the_run_after_losses_without_a_better_one(tmp_path):
    job = tiny_job(tmp_path, patience=2, evaluate_steps=1)
    events = run(job, plan(steps=60, lr=0.2))
    assert events[-1].reason == "early"
    held = [e for e in events if isinstance(e, HeldOut)]
    assert [e.best for e in held[-3:]] == [True, False, False]


def test_a_run_that_ended_early_does_no_further_step_when_it_goes_on(tmp_path):
    job = tiny_job(tmp_path, patience=2, evaluate_steps=1)
    ended = run(job, plan(steps=60, lr=0.2))[-1]
    state, optimizer = resumed(job)
    assert run(job, plan(steps=60, lr=0.2), state=state, optimizer=optimizer) == [ended]


def test_a_held_out_loss_that_is_no_number_is_not_the_best(tmp_path, monkeypatch):
    losses = iter([math.nan, 3.0, 2.0, 2.5])
    monkeypatch.setattr(
        held_out, "held_out_scores", lambda *_, **__: HeldOutScores(next(losses), 0.5)
    )
    events = run(tiny_job(tmp_path, evaluate_steps=1, patience=2), plan(steps=4))
    assert [e.best for e in events if isinstance(e, HeldOut)] == [False, True, True, False]


def test_a_loss_that_is_no_number_stops_with_the_last_good_state_and_names_the_rows(tmp_path):
    job = tiny_job(tmp_path, held=False)
    run(job, plan(steps=9), stop_after=3)
    state, optimizer = resumed(job)
    good = tensors(job)
    job.engine.model.get_decoder().norm.weight.data.fill_(math.nan)
    with pytest.raises(
        RunError, match=r"Step 4: the loss is nan.*rows\.jsonl:\d+.*state after step 3"
    ):
        run(job, plan(), state=state, optimizer=optimizer)
    newest = checkpoint.newest(tmp_path / "checkpoints")
    assert checkpoint.step_of(newest) == 3
    kept = checkpoint.tensors_of(newest)
    assert all(torch.equal(kept[name], good[name]) for name in good)


def test_gradients_that_are_no_numbers_stop_as_such_a_loss_does(tmp_path, monkeypatch):
    norm = torch.tensor(math.inf)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: norm)
    with pytest.raises(RunError, match="Step 1: "):
        run(tiny_job(tmp_path, held=False), plan(steps=3))


def test_a_full_disk_is_reported_before_anything_is_lost(tmp_path, monkeypatch):
    job = tiny_job(tmp_path)
    run(job, plan(steps=9), stop_after=2)
    state, optimizer = resumed(job)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("tunesmith.core.files.shutil.disk_usage", lambda path: usage)
    with pytest.raises(RunError, match="free, and a checkpoint takes"):
        run(job, plan(), state=state, optimizer=optimizer)
    assert checkpoint.step_of(checkpoint.newest(tmp_path / "checkpoints")) == 2


def test_a_difference_that_makes_resuming_inexact_is_named(tmp_path):
    job = tiny_job(tmp_path)
    run(job, plan(), stop_after=2)
    torch.set_num_threads(torch.get_num_threads() + 1)
    try:
        newest = checkpoint.newest(tmp_path / "checkpoints")
        _, changed = checkpoint.restore_(newest, job.adapter.parameters, adam(job))
    finally:
        torch.set_num_threads(torch.get_num_threads() - 1)
    assert len(changed) == 1
    assert changed[0].startswith("threads was")


def test_a_damaged_checkpoint_is_named_with_the_way_back(tmp_path):
    job = tiny_job(tmp_path)
    run(job, plan(), stop_after=4)
    newest = checkpoint.newest(tmp_path / "checkpoints")
    path = newest / checkpoint.TRAINED
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(RunError, match="damaged") as error:
        checkpoint.restore_(newest, job.adapter.parameters, adam(job))
    assert "checkpoint before" in error.value.remedy


def test_room_for_the_checkpoints_is_asked_for_before_the_first_step(tmp_path, monkeypatch):
    job = tiny_job(tmp_path)
    tensors_ = sum(p.numel() * p.element_size() for p in job.adapter.parameters.values())
    one = 3 * tensors_  # with both moments of Adam
    folder = tmp_path / "checkpoints"
    folder.mkdir(parents=True)
    for free, fits in ((3 * one + 2 * tensors_, True), (3 * one + 2 * tensors_ - 1, False)):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr("tunesmith.core.files.shutil.disk_usage", lambda _, u=usage: u)
        asked = functools.partial(
            checkpoint.require_room, folder, job.adapter.parameters, adam(job), keep=2
        )
        if fits:
            asked()
        else:
            with pytest.raises(RunError, match="the run with its checkpoints takes"):
                asked()
    checkpoint.folder_of(folder, 1).mkdir()  # one of both is there already
    asked()
