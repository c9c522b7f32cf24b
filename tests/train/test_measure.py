import pytest

from tests.train.tiny import tensors, tiny_job
from tunesmith.errors import MemoryRefusal
from tunesmith.train import measure


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


def test_what_cannot_fit_is_refused_with_what_would(tmp_path, monkeypatch):
    job = tiny_job(tmp_path)
    monkeypatch.setattr(measure, "FIRST_TOKENS", 4)
    monkeypatch.setattr(measure.memory, "available_bytes", lambda device: 3000)
    held = iter(range(0, 10**9, 1000))
    monkeypatch.setattr(measure.memory, "held_bytes", lambda device: next(held))
    with pytest.raises(MemoryRefusal, match=r"does not fit.*about [\d,]+ tokens would") as error:
        measure.make_plan(job, lr=0.1)
    assert "--data.max_tokens" in error.value.remedy
