from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.training.tiny import adam, plan, tensors, tiny_job
from tunesmith.config.run import RECOMPUTE
from tunesmith.core.errors import MemoryRefusal
from tunesmith.engine.forward import Engine
from tunesmith.methods.sizes import AUTO_TOKENS
from tunesmith.training import measure
from tunesmith.training.checkpoint import State
from tunesmith.training.job import HELD_OUT_SHARE, Member, planned


@pytest.mark.parametrize(("device", "expected"), [("cpu", 1792), ("cuda", 16_384)])
def test_a_micro_batch_has_the_tokens_of_the_step_where_memory_alone_bounds_it(device, expected):
    engine = SimpleNamespace(device=torch.device(device))
    job = SimpleNamespace(engine=engine, adapter=SimpleNamespace(frozen_base=True))
    assert measure._auto_tokens(job, 16_384) == expected
    assert measure._auto_tokens(job, 100) == 100


@pytest.mark.parametrize("method", ["lora", "projection"])
def test_measuring_trains_nothing_and_leaves_gradients_of_zero(tmp_path, method):
    job = tiny_job(tmp_path, method)
    before = tensors(job)
    plan = measure.make_plan(job, lr=0.1)
    job.adapter.gather()  # what a first step would find
    assert all(before[n].equal(p) for n, p in tensors(job).items())
    assert not any(p.grad is not None and p.grad.any() for p in job.adapter.parameters.values())
    assert plan.tokens_per_micro_batch >= max(job.rows.lengths)
    assert plan.steps == 12
    assert plan.seconds_per_token > 0


def test_minutes_become_steps_once_by_the_measured_speed(tmp_path):
    job = tiny_job(tmp_path, minutes=1)
    plan = measure.make_plan(job, lr=0.1)
    assert plan.steps > 12


def test_minutes_of_rows_are_those_of_tokens(tmp_path):
    by_rows = tiny_job(tmp_path / "rows", minutes=1, rows_per_step=2)
    mean = by_rows.rows.lengths.mean()
    by_tokens = tiny_job(
        tmp_path / "tokens", minutes=1, rows_per_step=None, tokens_per_step=round(2 * mean)
    )
    given = plan(seconds_per_token=0.001)
    steps = [measure.plan_beside(job, given, lr=0.1).steps for job in (by_rows, by_tokens)]
    assert steps[0] == pytest.approx(steps[1], rel=0.1)


def test_what_is_retained_takes_its_part_of_the_minutes_and_of_the_seconds(tmp_path):
    plain = tiny_job(tmp_path, minutes=1, retention=None)
    retained = tiny_job(tmp_path, minutes=1, retention={"share": 0.5})
    given = plan(seconds_per_token=0.001)
    steps = [measure.plan_beside(job, given, lr=0.1).steps for job in (plain, retained)]
    assert steps[0] / steps[1] == pytest.approx(1.6, rel=0.02)
    known = [planned(Member(job, given, adam(job))) for job in (plain, retained)]
    held = HELD_OUT_SHARE * given.seconds_per_token * plain.held.lengths.sum() * 5
    assert (known[1].seconds - held) / (known[0].seconds - held) == pytest.approx(1.6)


def test_no_step_of_a_run_that_ended_is_counted(tmp_path):
    job, given = tiny_job(tmp_path, patience=2, steps=20), plan(steps=20, seconds_per_token=0.001)
    early = State(step=5, tokens=0, train_loss=1.0, misses=2)
    assert planned(Member(job, given, adam(job), replace(early, misses=1))).seconds > 0
    ended = Member(job, given, adam(job), early, evaluation_seconds=(3.0, 4.0))
    assert ended.over == "early"
    assert (planned(ended).seconds, planned(ended).evaluation_seconds) == (0, 3.0)


def test_what_cannot_fit_is_refused_with_what_would(tmp_path, monkeypatch):
    job = tiny_job(tmp_path)
    monkeypatch.setattr(measure, "FIRST_TOKENS", 4)
    monkeypatch.setattr(measure.memory, "available_bytes", lambda device: 3000)
    held = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(measure.memory, "held_bytes", lambda device: next(held))
    with pytest.raises(MemoryRefusal, match=r"does not fit.*about [\d,]+ tokens would") as error:
        measure.make_plan(job, lr=0.1)
    assert "--data.max_tokens" in error.value.remedy


def test_a_micro_batch_that_was_asked_for_and_cannot_fit_is_refused_as_such(tmp_path, monkeypatch):
    job = tiny_job(tmp_path, tokens_per_micro_batch=8192)
    monkeypatch.setattr(measure, "_measure", lambda *_, **__: None)
    with pytest.raises(MemoryRefusal, match=r"Micro-batches of 8,192 tokens do not fit") as error:
        measure.make_plan(job, lr=0.1)
    assert "train.tokens_per_micro_batch" in error.value.remedy


class Device:
    """One that holds so many tokens in training, and says so; what was tried on it."""

    def __init__(self, monkeypatch, holds):
        self.tried = []
        states = Engine.hidden_states

        def limited(engine, batch, *, recompute="none"):
            self.tried.append((len(batch.ids), recompute))
            if len(batch.ids) > holds * (1 + RECOMPUTE.index(recompute)):
                raise torch.OutOfMemoryError("CUDA out of memory")
            return states(engine, batch, recompute=recompute)

        monkeypatch.setattr(Engine, "hidden_states", limited)
        monkeypatch.setattr(measure, "FIRST_TOKENS", 4)
        monkeypatch.setattr(measure.memory, "available_bytes", lambda device: 10**12)


@pytest.mark.parametrize("method", ["lora", "projection"])
def test_where_the_device_runs_out_of_memory_half_is_tried(tmp_path, method, monkeypatch):
    job = tiny_job(tmp_path, method, rows_per_step=None, tokens_per_step=100)
    longest = int(max(job.rows.lengths))
    before = tensors(job)
    device = Device(monkeypatch, longest + 2)
    plan = measure.make_plan(job, lr=0.1)
    assert (plan.tokens_per_micro_batch, plan.recompute) == (longest, "none")
    assert [tokens for tokens, _ in device.tried if tokens > 8] == [100, 50, 25, longest]
    assert all(before[n].equal(p) for n, p in tensors(job).items())
    assert not any(p.grad is not None and p.grad.any() for p in job.adapter.parameters.values())
    job.adapter.gather()
    assert not any(p.grad is not None and p.grad.any() for p in job.adapter.parameters.values())


def test_then_recomputation_then_it_is_refused(tmp_path, monkeypatch):
    job = tiny_job(tmp_path)
    longest = int(max(job.rows.lengths))
    with monkeypatch.context() as patch:
        Device(patch, longest - 1)
        plan = measure.make_plan(job, lr=0.1)
        assert plan.recompute == "activations"
        assert plan.tokens_per_micro_batch >= longest
    with monkeypatch.context() as patch:
        Device(patch, longest // 2 - 1)
        assert measure.make_plan(job, lr=0.1).recompute == "layers"
    Device(monkeypatch, longest // 3 - 1)
    with pytest.raises(MemoryRefusal, match=rf"A document of {longest} tokens does not fit") as e:
        measure.make_plan(job, lr=0.1)
    assert "--method qlora" in e.value.remedy
    assert "recompute" not in e.value.remedy, "it was tried"
    job = replace(job, settings=job.settings.model_copy(update={"recompute": "none"}))
    with pytest.raises(MemoryRefusal) as e:
        measure.make_plan(job, lr=0.1)
    assert "--train.recompute layers" in e.value.remedy


def test_a_plan_beside_another_keeps_what_its_own_settings_say(tmp_path):
    first = measure.make_plan(tiny_job(tmp_path), lr=0.1)
    own = {"tokens_per_micro_batch": 30, "recompute": "layers", "steps": 4}
    plan = measure.plan_beside(tiny_job(tmp_path, **own), first, lr=0.2)
    found = (plan.tokens_per_micro_batch, plan.recompute, plan.steps, plan.lr)
    assert found == (30, "layers", 4, 0.2)
    plan = measure.plan_beside(tiny_job(tmp_path), first, lr=0.1)
    assert plan == first


def test_jobs_that_train_together_share_larger_micro_batches(tmp_path):
    job = tiny_job(tmp_path, rows_per_step=1)
    alone = measure.make_plan(job, lr=0.1).tokens_per_micro_batch
    assert measure.make_plan(job, lr=0.1, together=5 * alone).tokens_per_micro_batch == 5 * alone
    assert measure.make_plan(job, lr=0.1, together=10**6).tokens_per_micro_batch == AUTO_TOKENS
