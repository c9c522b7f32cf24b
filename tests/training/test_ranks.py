"""Contract 10: the same training on 1, 2 and 4 ranks gives the same bytes."""

from functools import partial

import pytest
import torch

from tests.ranks import on_ranks
from tests.training.test_gradients import Small
from tests.training.test_loop import run
from tests.training.test_together import member
from tests.training.tiny import adam, dataset, plan, tensors, tiny_job
from tests.variants import attach, engine_for
from tunesmith.config import TrainSettings
from tunesmith.core import ranks
from tunesmith.core.errors import MemoryRefusal, RunError
from tunesmith.core.progress import Notice, Progress
from tunesmith.runs.folder import RunFolder
from tunesmith.training import checkpoint, measure
from tunesmith.training.events import HeldOut, StepDone
from tunesmith.training.job import Job, Member
from tunesmith.training.loop import train

SIZES = (1, 2, 4)
# one of each method, with what sums gradients in a way of its own
EXACT = ("lora", "dora", "qlora", "prompt", "p-tuning", "p-tuning, projection", "ia3")
FEW = 12  # tokens of a micro-batch: several of them in a step


def variant_job(folder, variant, **settings):
    """A job of any method over a tiny base."""
    engine = engine_for("llama", variant, folder / "base")
    values = {"rows_per_step": 5, "save_steps": 3, "epochs": None, **settings}
    return Job(
        engine=engine,
        adapter=attach(engine, variant, folder / "base", seed=1),
        rows=dataset(),
        held=dataset(5, seed=9),
        settings=TrainSettings(**values),
        folder=folder,
        keep_plan=RunFolder(folder).write_plan,
    )


def result_of(job, events):
    """All that a training gives, as it can be sent."""
    bytes_of = {name: tensor.numpy().tobytes() for name, tensor in tensors(job).items()}
    losses = [event.loss for event in events if isinstance(event, StepDone | HeldOut)]
    return bytes_of, losses, [e.token_accuracy for e in events if isinstance(e, HeldOut)]


def trained(job, plan_, **options):
    """What a job gives on this rank."""
    return result_of(job, run(job, plan_, **options))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a training of each variant gives, by the number of ranks, on each of them."""
    results = {}
    for size in SIZES:
        folder = tmp_path_factory.mktemp(f"on{size}")
        jobs = {each: variant_job(folder / each, each) for each in (*EXACT, "full")}
        jobs["dropout"] = tiny_job(
            folder / "dropout", "lora dropout", rows_per_step=5, save_steps=3
        )
        jobs["a row a step"] = tiny_job(folder / "one", rows_per_step=1, save_steps=3)

        def work(jobs=jobs):
            cut = plan(steps=3, tokens_per_micro_batch=FEW)
            return {name: trained(job, cut) for name, job in jobs.items()}

        results[size] = on_ranks(size, work)
    return results


@pytest.mark.parametrize("variant", [*EXACT, "dropout", "a row a step"])
def test_any_number_of_ranks_gives_the_same_bytes_and_losses(found, variant):
    (alone,) = found[1]
    for size in SIZES:
        for each in found[size]:
            assert each[variant] == alone[variant], size


def test_full_fine_tuning_is_equal_to_1e_6_and_the_same_on_all_ranks(found):
    def numbers(result):
        return torch.cat(
            [torch.frombuffer(bytearray(each), dtype=torch.float32) for each in result.values()]
        )

    (alone,) = found[1]
    for size in SIZES:
        for each in found[size]:
            assert each["full"] == found[size][0]["full"]
            torch.testing.assert_close(each["full"][1], alone["full"][1], rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(
                numbers(each["full"][0]), numbers(alone["full"][0]), rtol=1e-4, atol=1e-5
            )


def test_several_adapters_train_together_on_any_number_of_ranks(tmp_path):
    results = {}
    for size in SIZES:
        engine = engine_for("llama", "lora", tmp_path)
        names = ("rank 2", "prompt", "p-tuning")
        members = [member(name, engine, tmp_path / str(size)) for name in names]

        def work(members=members):
            losses = [e.loss for _, e in train(members) if isinstance(e, StepDone | HeldOut)]
            return [result_of(each.job, []) for each in members], losses

        results[size] = on_ranks(size, work)
    (alone,) = results[1]
    assert all(each == alone for size in SIZES for each in results[size])


def resumed(job, plan_):
    optimizer = adam(job)
    newest = checkpoint.newest(job.folder / "checkpoints")
    state, changed = checkpoint.restore_(newest, job.adapter.parameters, optimizer)
    assert not changed
    job.adapter.refresh()
    events = run(job, plan_, state=state, optimizer=optimizer)
    return result_of(job, events)


@pytest.mark.parametrize("size", [1, 4])
def test_a_checkpoint_of_two_ranks_resumes_on_one_and_on_four(tmp_path, size):
    """The plan holds for how many ranks its steps were cut."""
    cut = plan(steps=4, tokens_per_micro_batch=1000, ranks=2)
    (unbroken,) = on_ranks(1, partial(trained, tiny_job(tmp_path / "a"), cut))
    first = tiny_job(tmp_path / "b")
    on_ranks(2, partial(trained, first, cut, stop_after=2))
    again = tiny_job(tmp_path / "b")
    # as other ranks have no such folder, or a stale one
    with torch.no_grad():
        for parameter in again.adapter.parameters.values():
            parameter.add_(1.0)
    for each in on_ranks(size, partial(resumed, again, cut)):
        assert each[0] == unbroken[0]
        assert each[1] == unbroken[1][-len(each[1]) :]


def test_memory_that_runs_out_on_one_rank_halves_the_micro_batches_of_all(tmp_path, monkeypatch):
    """As on one rank whose memory is as small."""

    def work(job, only):
        if ranks.rank() == only:
            Small(monkeypatch, holds=30)
        events = run(job, plan(steps=3, tokens_per_micro_batch=60))
        notices = [event.message for event in events if isinstance(event, Notice)]
        return result_of(job, events), notices

    job = tiny_job(tmp_path / "a", rows_per_step=6)
    (alone,) = on_ranks(1, partial(work, job, 0))
    job = tiny_job(tmp_path / "b", rows_per_step=6)
    found = on_ranks(2, partial(work, job, 1))
    assert found == [alone] * 2
    assert "did not fit into memory: micro-batches of 30 tokens in place of 60" in alone[1][0]
    assert RunFolder(tmp_path / "b").read_plan().tokens_per_micro_batch == 30


def test_a_document_that_fits_into_no_rank_ends_all_with_one_error(tmp_path, monkeypatch):
    def work(job):
        if ranks.rank() == 1:
            Small(monkeypatch, holds=4)
        run(job, plan(steps=3, tokens_per_micro_batch=60))

    first, other = on_ranks(2, partial(work, tiny_job(tmp_path, rows_per_step=6)))
    assert isinstance(first, MemoryRefusal)
    assert "memory ran out on one document" in first.message
    assert isinstance(other, ranks.ReportedElsewhere)


def test_a_cancel_on_any_rank_stops_all_after_the_step(tmp_path):
    def work(job):
        stop_after = 2 if ranks.rank() == 3 else None
        events = run(job, plan(tokens_per_micro_batch=FEW), stop_after=stop_after)
        return events[-1].reason, events[-1].step

    assert on_ranks(4, partial(work, tiny_job(tmp_path))) == [("stopped", 2)] * 4
    assert checkpoint.newest(tmp_path / "checkpoints").name.endswith("2")


def test_a_cancel_within_the_held_out_loss_leaves_it_due_on_all_ranks(tmp_path):
    def work(job):
        steps = []
        asked = Progress(cancelled=lambda: len(steps) == 2 and ranks.rank() == 1)
        one = Member(job, plan(tokens_per_micro_batch=FEW), adam(job))
        for _, event in train([one], progress=asked):
            steps += [event] if isinstance(event, StepDone) else []
        return one.state.hold_due, one.ended.reason

    assert on_ranks(2, partial(work, tiny_job(tmp_path))) == [(True, "stopped")] * 2


def test_a_disk_that_refuses_rank_0_ends_the_others(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise RunError("No space is left.", code="disk")

    monkeypatch.setattr("tunesmith.core.files.require_space", refuse)
    first, other = on_ranks(2, partial(trained, tiny_job(tmp_path), plan()))
    assert first.code == "disk"
    assert isinstance(other, ranks.ReportedElsewhere)


def test_the_plan_is_that_of_the_rank_with_the_least_memory(tmp_path, monkeypatch):
    def work(job):
        free = 10**9 if ranks.rank() == 0 else 10**5
        monkeypatch.setattr("tunesmith.engine.memory.available_bytes", lambda _: free)
        monkeypatch.setattr(measure, "_largest", lambda _, size, **__: min(size, free // 2500))
        return measure.make_plan(job, lr=1e-3)

    job = tiny_job(tmp_path, tokens_per_step=600, rows_per_step=None)
    first, other = on_ranks(2, partial(work, job))
    assert first == other
    assert (first.tokens_per_micro_batch, first.ranks) == (40, 2)
    (alone,) = on_ranks(1, partial(work, job))
    assert (alone.tokens_per_micro_batch, alone.ranks) == (600, 1)
    assert RunFolder(tmp_path).read_plan() is None


def test_a_plan_of_an_earlier_version_is_for_one_rank(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_plan(plan())
    text = folder.plan.read_text().replace('"ranks"', '"unknown"')
    folder.plan.write_text(text)
    assert folder.read_plan() == plan()
