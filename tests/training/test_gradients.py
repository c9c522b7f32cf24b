"""Out of memory in a micro-batch: smaller ones, the step again from its start, the same result."""

import copy

import pytest
import torch

from tests.families import tiny_model
from tests.training.test_loop import run
from tests.training.test_together import member
from tests.training.test_together import run as run_all
from tests.training.tiny import METHODS, adam, plan, tensors, tiny_job
from tunesmith.config.run import RECOMPUTE
from tunesmith.core.errors import MemoryRefusal
from tunesmith.core.progress import Notice
from tunesmith.engine import memory
from tunesmith.engine.forward import Engine, prepare_
from tunesmith.runs.folder import RunFolder
from tunesmith.training import checkpoint
from tunesmith.training.events import Ended, StepDone
from tunesmith.training.held_out import held_out_loss
from tunesmith.training.job import Member
from tunesmith.training.loop import train

CLOSE = {"rtol": 1e-6, "atol": 1e-6}
ERRORS = {
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "cpu": RuntimeError(
        "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    ),
    "windows": RuntimeError(
        "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"
    ),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    "python": MemoryError(),
}


class Small:
    """A device that holds so many tokens in training: forward or backward of more fails.

    In backward it fails in the middle layer, when the last one has its gradients.
    """

    def __init__(self, monkeypatch, holds, error=ERRORS["cuda"], *, backward=False, after=0):
        self.holds, self.error, self.after = holds, error, after
        self.sizes, self.failed = [], []
        states = Engine.hidden_states

        def fail(gradient):
            raise copy.copy(error)

        def limited(engine, batch, *, recompute="none"):
            if not torch.is_grad_enabled():
                return states(engine, batch, recompute=recompute)
            self.sizes.append(len(batch.ids))
            fits = len(batch.ids) <= self.holds * (1 + RECOMPUTE.index(recompute))
            if fits or len(self.sizes) <= self.after:
                return states(engine, batch, recompute=recompute)
            self.failed.append(len(batch.ids))
            if not backward:
                raise copy.copy(error)
            layer = engine.model.get_decoder().layers[1]
            inner = layer.forward

            def forward(*arguments, **options):
                hidden = inner(*arguments, **options)
                hidden.register_hook(fail)
                layer.forward = inner
                return hidden

            layer.forward = forward
            return states(engine, batch, recompute=recompute)

        monkeypatch.setattr(Engine, "hidden_states", limited)


def losses(events):
    return [event.loss for event in events if isinstance(event, StepDone)]


def notices(events):
    return [e.message for e in events if isinstance(e, Notice) and e.code == "back_off"]


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_the_result_is_that_of_the_undisturbed_run(tmp_path, method, backward, monkeypatch):
    undisturbed = tiny_job(tmp_path / "a", method, held=False, rows_per_step=6)
    # At a larger rate Adam makes more of the last bit where a gradient is next to nothing.
    expected = run(undisturbed, plan(steps=4, tokens_per_micro_batch=60, lr=5e-4))
    job = tiny_job(tmp_path / "b", method, held=False, rows_per_step=6)
    small = Small(monkeypatch, holds=30, backward=backward, after=1)
    events = run(job, plan(steps=4, tokens_per_micro_batch=60, lr=5e-4))
    assert len(small.failed) == 1, "in a second micro-batch, or in a second step"
    assert len(notices(events)) == 1
    assert losses(events) == pytest.approx(losses(expected), rel=1e-6, abs=1e-6)
    for name, tensor in tensors(undisturbed).items():
        torch.testing.assert_close(tensors(job)[name], tensor, **CLOSE)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_of_the_failed_attempt_stays(tmp_path, method, backward, monkeypatch):
    halved = tiny_job(tmp_path / "a", method, held=False)
    run(halved, plan(steps=3, tokens_per_micro_batch=30))
    job = tiny_job(tmp_path / "b", method, held=False)
    Small(monkeypatch, holds=30, backward=backward)
    run(job, plan(steps=3, tokens_per_micro_batch=60))
    for name, tensor in tensors(halved).items():
        assert torch.equal(tensors(job)[name], tensor), name


@pytest.mark.parametrize("kind", ERRORS)
def test_every_way_to_say_so_is_understood(tmp_path, kind, monkeypatch):
    job = tiny_job(tmp_path, held=False)
    small = Small(monkeypatch, holds=30, error=ERRORS[kind])
    run(job, plan(steps=2, tokens_per_micro_batch=60))
    assert small.failed


def test_another_error_is_none_of_these(tmp_path, monkeypatch):
    job = tiny_job(tmp_path, held=False)
    Small(monkeypatch, holds=30, error=RuntimeError("shapes [3, 4] and [5] do not fit"))
    with pytest.raises(RuntimeError, match="do not fit"):
        run(job, plan(steps=2, tokens_per_micro_batch=60))
    assert not memory.has_run_out(ValueError("out of memory"))


def test_the_limit_is_halved_once_told_and_kept_for_the_rest_of_the_run(tmp_path, monkeypatch):
    job = tiny_job(tmp_path, held=False, rows_per_step=6)
    small = Small(monkeypatch, holds=27)
    events = run(job, plan(steps=6, tokens_per_micro_batch=100), stop_after=4)
    told = notices(events)
    assert told == [
        "step 1 did not fit into memory: micro-batches of 50 tokens in place of 100 from now on",
        "step 1 did not fit into memory: micro-batches of 25 tokens in place of 50 from now on",
    ]
    at = [type(event) for event in events]
    assert at.index(Notice) < at.index(StepDone)
    assert len(small.failed) == 2
    kept = RunFolder(tmp_path).read_plan()
    assert (kept.tokens_per_micro_batch, kept.recompute, kept.steps) == (25, "none", 6)


def test_a_resumed_run_ends_as_the_one_that_went_on(tmp_path, monkeypatch):
    whole = tiny_job(tmp_path / "a", "lora dropout", held=False)
    parts = tiny_job(tmp_path / "b", "lora dropout", held=False)
    Small(monkeypatch, holds=30)
    run(whole, plan(steps=6, tokens_per_micro_batch=60))
    run(parts, plan(steps=6, tokens_per_micro_batch=60), stop_after=3)
    again = tiny_job(tmp_path / "b", "lora dropout", held=False)
    optimizer = adam(again)
    newest = checkpoint.newest(tmp_path / "b" / "checkpoints")
    state, _ = checkpoint.restore_(newest, again.adapter.parameters, optimizer)
    again.adapter.refresh()
    run(again, RunFolder(tmp_path / "b").read_plan(), state=state, optimizer=optimizer)
    for name, tensor in tensors(whole).items():
        assert torch.equal(tensors(again)[name], tensor), name


def longest(job):
    return int(max(job.rows.lengths))


@pytest.mark.parametrize(("share", "expected"), [(1, "activations"), (2, "layers")])
def test_more_is_computed_again_where_one_document_does_not_fit(
    tmp_path, share, expected, monkeypatch
):
    undisturbed = tiny_job(tmp_path / "a", held=False)
    run(undisturbed, plan(steps=4))
    job = tiny_job(tmp_path / "b", held=False)
    Small(monkeypatch, holds=longest(job) // share - 1)
    events = run(job, plan(steps=4))
    assert f"{expected} are computed again in backward from now on" in notices(events)[-1]
    assert RunFolder(tmp_path / "b").read_plan().recompute == expected
    for name, tensor in tensors(undisturbed).items():
        torch.testing.assert_close(tensors(job)[name], tensor, **CLOSE)


@pytest.mark.parametrize("recompute", ["auto", *RECOMPUTE])
def test_a_document_that_does_not_fit_at_all_is_refused_with_the_remedies(
    tmp_path, recompute, monkeypatch
):
    job = tiny_job(tmp_path, held=False, recompute=recompute, rows_per_step=12)
    Small(monkeypatch, holds=4)
    with pytest.raises(MemoryRefusal) as error:
        run(job, plan(steps=4, recompute="none" if recompute == "auto" else recompute))
    text = str(error.value)
    assert "Step 1: memory ran out on one document of" in text
    row = int(text.split("rows.jsonl:")[1].split(".")[0]) - 1
    assert f"of {len(job.rows[row].ids)} tokens" in text
    assert ("--train.recompute layers" in text) == (recompute in ("none", "activations"))
    assert "--data.overflow truncate --data.max_tokens" in text
    assert "--method qlora" in text
    assert "--resume" not in text  # nothing was saved


def test_the_state_before_it_is_kept(tmp_path, monkeypatch):
    job = tiny_job(tmp_path, held=False, recompute="none", save_steps=100)
    undisturbed = tiny_job(tmp_path / "other", held=False, save_steps=100)
    run(undisturbed, plan(), stop_after=2)
    small = Small(monkeypatch, holds=10_000)
    events = []
    each = Member(job, plan(), adam(job))
    for _, event in train([each]):
        events.append(event)
        if isinstance(event, StepDone) and event.step == 2:
            small.holds = 2
    assert "step 2 is saved" in str(each.error)
    assert "--resume" in str(each.error)
    assert events[-1] == Ended(2, "failed")
    kept = checkpoint.tensors_of(checkpoint.newest(tmp_path / "checkpoints"))
    for name, tensor in tensors(undisturbed).items():
        assert torch.equal(kept[name], tensor), name


def group(folder):
    engine = prepare_(tiny_model("llama", torch.float32))
    names = ("rank 2", "dropout", "p-tuning")
    return [member(name, engine, folder, tokens_per_micro_batch=100) for name in names]


def test_members_that_train_together_back_off_together(tmp_path, monkeypatch):
    undisturbed = group(tmp_path / "a")
    expected, _ = run_all(undisturbed)
    disturbed = group(tmp_path / "b")
    Small(monkeypatch, holds=60, after=2)
    found, last = run_all(disturbed)
    for one, other in zip(undisturbed, disturbed, strict=True):
        assert found[id(other)] == pytest.approx(expected[id(one)], rel=1e-6, abs=1e-6)
        assert last[id(other)] == Ended(other.plan.steps, "done")
        assert other.plan.tokens_per_micro_batch == 50
        assert RunFolder(other.job.folder).read_plan() == other.plan
        for name, tensor in tensors(one.job).items():
            torch.testing.assert_close(tensors(other.job)[name], tensor, rtol=1e-5, atol=1e-5)


def test_a_member_whose_document_does_not_fit_ends_and_the_others_go_on(tmp_path, monkeypatch):
    members = group(tmp_path)
    wide = max(members, key=lambda m: max(m.job.rows.lengths))
    others = [m for m in members if m is not wide]
    limit = max(max(m.job.rows.lengths) + m.job.engine.prefix_length(m.job.name) for m in others)
    most = longest(wide.job) + wide.job.engine.prefix_length(wide.job.name)
    assert most > limit, "the rows are drawn so"
    for each in members:
        object.__setattr__(
            each.job, "settings", each.job.settings.model_copy(update={"recompute": "none"})
        )
    Small(monkeypatch, holds=limit)
    _, last = run_all(members)
    assert last[id(wide)].reason == "failed"
    assert "memory ran out on one document" in str(wide.error)
    for each in others:
        assert last[id(each)] == Ended(each.plan.steps, "done")
        assert each.error is None


def test_held_out_rows_are_computed_in_halves_where_memory_runs_out(tmp_path, monkeypatch):
    job = tiny_job(tmp_path)
    whole = held_out_loss(job, job.held, tokens=10_000)
    states = Engine.hidden_states
    holds = [30]

    def limited(engine, batch, **options):
        if len(batch.ids) > holds[0]:
            raise ERRORS["cuda"]
        return states(engine, batch, **options)

    monkeypatch.setattr(Engine, "hidden_states", limited)
    assert held_out_loss(job, job.held, tokens=10_000) == pytest.approx(whole, rel=1e-6)
    holds[0] = 3
    with pytest.raises(MemoryRefusal, match=r"one held-out document of \d+ tokens, rows.jsonl:"):
        held_out_loss(job, job.held, tokens=10_000)
