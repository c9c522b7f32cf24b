"""`full` over a sharded base: the losses of one rank, and checkpoints that any number reads."""

import pytest
import torch

from tests.families import tiny_model
from tests.ranks import all_of, on_ranks
from tests.training.test_gradients import Small
from tests.training.test_loop import run
from tests.training.test_ranks import trained as trained_job
from tests.training.tiny import adam, dataset, plan
from tests.variants import attach, engine_for
from tunesmith.config import FullSettings, TrainSettings
from tunesmith.core import ranks
from tunesmith.core.errors import MemoryRefusal, RunError
from tunesmith.core.rank_sum import sum_over_ranks_
from tunesmith.core.rank_work import in_turn
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import Row, pack
from tunesmith.engine.shard import clip_, is_sharded, own_part, shard_, whole
from tunesmith.methods import table
from tunesmith.training import checkpoint, optimizer
from tunesmith.training.checkpoint import State
from tunesmith.training.events import HeldOut, StepDone
from tunesmith.training.held_out import held_out_loss
from tunesmith.training.job import Job

CPU = torch.device("cpu")
ROWS = 8  # of a step
LIMIT = 0.5  # of the gradient's norm


def start(family="llama"):
    """A model with all its weights trained, sharded where there are ranks."""
    engine = prepare_(tiny_model(family, torch.float32))
    if ranks.size() > 1:
        shard_(engine.model, CPU, dtype=torch.float32)
    adapter = table.attach(engine, FullSettings())
    return engine, adapter, optimizer.build(adapter, lr=1e-2, weight_decay=0.1)


def step(engine, adapter, adam, number):
    """Loss and gradient's norm of a step on this rank's share of the rows."""
    rows = dataset(40)
    mine = ranks.mine([rows[i] for i in range(ROWS * number, ROWS * number + ROWS)])
    packed = [Row(row.ids.tolist(), row.weights.tolist(), None, i) for i, row in enumerate(mine)]
    batch = pack(packed, prefixes={})
    loss = loss_sum(engine.hidden_states(batch), batch, engine.head, count=30.0)
    loss.backward()
    sum_over_ranks_([p.grad for p in adapter.trained.values() if not is_sharded(p)])
    norm = clip_(adapter.trained.values(), LIMIT)
    optimizer.set_rate_(adam, 1e-2)
    adam.step()
    optimizer.zero_gradients_(adam)
    total = loss.detach().clone()
    sum_over_ranks_([total])
    return total.item(), norm.item()


def assert_same(found, expected):
    """Losses to 1e-6; norms, which gradients that almost cancel are part of, to 1e-5."""
    for (loss, norm), (same_loss, same_norm) in zip(found, expected, strict=True):
        assert loss == pytest.approx(same_loss, rel=1e-6)
        assert norm == pytest.approx(same_norm, rel=1e-5)


def trained(family="llama"):
    engine, adapter, adam = start(family)
    found = [step(engine, adapter, adam, number) for number in range(3)]
    held = sum(own_part(p).numel() for p in adapter.parameters.values() if is_sharded(p))
    states = sum(
        own_part(t).numel()
        for part in optimizer.state_tensors(adam, adapter.parameters).values()
        for name, t in part.items()
        if is_sharded(adapter.parameters[name])
    )
    return (
        found,
        held,
        states,
        sum(p.numel() for p in engine.model.get_decoder().layers.parameters()),
    )


@pytest.mark.parametrize(("family", "size"), [("llama", 2), ("llama", 4), ("gemma2", 2)])
def test_losses_and_norms_are_those_of_one_rank(family, size):
    expected, *_ = trained(family)
    for found, held, states, parameters in all_of(size, lambda: trained(family)):
        assert_same(found, expected)
        assert (held, states) == (parameters / size, 2 * parameters / size)


def saved(folder):
    engine, adapter, adam = start()
    for number in range(2):
        step(engine, adapter, adam, number)
    state = State(step=2, tokens=0, train_loss=1.0)
    checkpoint.save(folder, state, adapter.parameters, adam)
    return step(engine, adapter, adam, 2)


def resumed(folder):
    engine, adapter, adam = start()
    state, _ = checkpoint.restore_(folder, adapter.parameters, adam)
    assert state.step == 2
    return step(engine, adapter, adam, 2)


@pytest.mark.parametrize("first", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_checkpoint_is_read_by_any_number_of_ranks(first, tmp_path):
    folder = tmp_path / "checkpoints" / "step-00000002"
    unbroken, *_ = all_of(first, lambda: saved(folder))
    for size in (1, 2, 4):
        for found in all_of(size, lambda: resumed(folder)):
            assert_same([found], [unbroken])
    assert sorted(each.name for each in folder.parent.iterdir()) == [folder.name]


def job_on(folder, variant, **settings):
    """A job whose base is sharded where there are ranks."""
    # one after the other: a 4-bit base is written to a folder and read from there
    engine = in_turn(lambda: engine_for("llama", variant, folder / "base"))
    if ranks.size() > 1:
        shard_(engine.model, CPU, dtype=torch.float32 if variant == "full" else None)
    return Job(
        engine=engine,
        adapter=attach(engine, variant, folder / "base", seed=1),
        rows=dataset(),
        held=dataset(5, seed=9),
        settings=TrainSettings(**{"save_steps": 2, "epochs": None, **settings}),
        folder=folder,
    )


def on_one_and_on_two(tmp_path, variant, cut, **settings):
    """What a job gives on one rank, and on two that share its base."""

    def work(folder):
        job = job_on(folder, variant, **settings)
        return trained_job(job, cut)

    (alone,) = all_of(1, lambda: work(tmp_path / "one"))
    return alone, all_of(2, lambda: work(tmp_path / "two"))


@pytest.mark.parametrize("variant", ["lora", "dora", "qlora", "prompt", "p-tuning, projection"])
@pytest.mark.parametrize("rows", [1, 5])
def test_adapters_over_a_sharded_base_are_those_of_one_rank_to_the_last_bit(
    variant, rows, tmp_path, home
):
    """Also where a rank has no rows, or fewer of them."""
    cut = plan(steps=3, tokens_per_micro_batch=12)
    alone, found = on_one_and_on_two(tmp_path, variant, cut, rows_per_step=rows)
    assert found == [alone, alone]


@pytest.mark.parametrize("rows", [1, 5])
def test_full_over_a_sharded_base_has_the_losses_of_one_rank(rows, tmp_path):
    cut = plan(steps=3, tokens_per_micro_batch=12)

    def losses(folder):
        job = job_on(folder, "full", rows_per_step=rows)
        return [e.loss for e in run(job, cut) if isinstance(e, StepDone | HeldOut)]

    (alone,) = all_of(1, lambda: losses(tmp_path / "one"))
    for found in all_of(2, lambda: losses(tmp_path / "two")):
        assert found == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("size", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_stopped_full_run_resumes_on_other_ranks(size, tmp_path):
    cut = plan(steps=4, tokens_per_micro_batch=12)

    def begun(folder, stop_after):
        job = job_on(folder, "full", rows_per_step=5)
        return [e.loss for e in run(job, cut, stop_after=stop_after) if isinstance(e, StepDone)]

    def resumed():
        job = job_on(tmp_path / "b", "full", rows_per_step=5)
        optimizer_ = adam(job)
        newest = checkpoint.newest(tmp_path / "b" / "checkpoints")
        state, changed = checkpoint.restore_(newest, job.adapter.parameters, optimizer_)
        events = run(job, cut, state=state, optimizer=optimizer_)
        return changed, [e.loss for e in events if isinstance(e, StepDone)]

    unbroken, _ = all_of(2, lambda: begun(tmp_path / "a", None))
    all_of(2, lambda: begun(tmp_path / "b", 2))
    for changed, losses in all_of(size, resumed):
        assert not changed
        assert losses == pytest.approx(unbroken[2:], rel=1e-6)


def test_a_damaged_part_is_named_with_the_way_back(tmp_path):
    folder = tmp_path / "step-00000002"
    all_of(2, lambda: saved(folder))
    next(folder.rglob("*.distcp")).unlink()
    _, adapter, adam = start()
    with pytest.raises(RunError, match="damaged") as error:
        checkpoint.restore_(folder, adapter.parameters, adam)
    assert "checkpoint before" in error.value.remedy


def test_the_best_tensors_come_back(tmp_path):
    def work():
        _, adapter, _ = start()
        before = {name: whole(p).clone() for name, p in adapter.parameters.items()}
        checkpoint.save_best(tmp_path, State(0, 0, 1.0), adapter.parameters)
        with torch.no_grad():
            for parameter in adapter.parameters.values():
                parameter.zero_()
        checkpoint.put_back_(tmp_path / checkpoint.BEST, adapter)
        return all(torch.equal(whole(p), before[name]) for name, p in adapter.parameters.items())

    assert all_of(2, work) == [True, True]


def test_averages_are_those_of_one_rank(tmp_path):
    cut = plan(steps=4, tokens_per_micro_batch=12)

    def work(folder):
        job = job_on(folder, "full", rows_per_step=5, average_steps=3)
        losses = [e.loss for e in run(job, cut) if isinstance(e, HeldOut)]
        checkpoint.put_back_(folder / "checkpoints" / "step-00000002", job.adapter)
        return losses, held_out_loss(job, job.held, tokens=12)

    ((alone, put_back),) = all_of(1, lambda: work(tmp_path / "one"))
    assert put_back == pytest.approx(alone[0], rel=1e-6)
    for losses, again in all_of(2, lambda: work(tmp_path / "two")):
        assert losses == pytest.approx(alone, rel=1e-6)
        assert again == pytest.approx(put_back, rel=1e-6)


def test_memory_that_runs_out_within_a_pass_names_what_takes_less(tmp_path, monkeypatch):
    """On all ranks here: where one is left, it waits until torchrun ends it."""

    def work():
        job = job_on(tmp_path, "lora", rows_per_step=6)
        Small(monkeypatch, holds=4)
        run(job, plan(steps=2, tokens_per_micro_batch=60))

    errors = on_ranks(2, work)
    (error,) = (each for each in errors if isinstance(each, MemoryRefusal))
    assert "Step 1: memory ran out on this rank" in error.message
    assert "--train.tokens_per_micro_batch 30" in error.remedy
    assert any(isinstance(each, ranks.ReportedElsewhere) for each in errors)
