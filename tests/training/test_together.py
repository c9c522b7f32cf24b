"""Contract 7: adapters that train together end as each one does that trains alone."""

import math
from dataclasses import replace

import pytest
import torch

from tests.covering import covering, family_traits
from tests.families import STATES, tiny_model
from tests.training.tiny import adam, dataset, plan, tensors
from tests.variants import EXPERTS, FOUR_BIT, SHAPES, VARIANTS, attach, engine_for, fits
from tunesmith.config import LoraSettings, TrainSettings
from tunesmith.config.methods import PromptSettings, PTuningSettings
from tunesmith.core.progress import Progress
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.runs.folder import RunFolder
from tunesmith.training import checkpoint, held_out
from tunesmith.training.events import Ended, Saved, StepDone
from tunesmith.training.job import Job, Member
from tunesmith.training.loop import train
from tunesmith.training.steps import micro_batches

SETTINGS = {
    "rank 2": LoraSettings(rank=2),
    "rank 9": LoraSettings(rank=9, targets=["q_proj", "o_proj"]),
    "dropout": LoraSettings(rank=4, dropout=0.3),
    "dora": LoraSettings(rank=3, dora=True, init="pissa"),
    "prompt": PromptSettings(tokens=3),
    "p-tuning": PTuningSettings(tokens=5),
}
# What a family computes is held alike in every packing by the contract of the engine; here it
# matters whether the head is shared.
TIES = family_traits([f for f in SHAPES if f != EXPERTS], only=("tied", "untied"))
PLAIN_PAIRS = covering(TIES, {False: ["16"], True: ["4"]})


def member(name, engine, folder, *, steps=6, **changes):
    """One of the adapters with a learning rate, rows and length of its own."""
    number = list(SETTINGS).index(name)
    adapter = table.attach(engine, SETTINGS[name], name=name, seed=number)
    return member_of(adapter, engine, folder / name, number=number, steps=steps, **changes)


def member_of(adapter, engine, folder, *, number, steps=6, **changes):
    """An adapter with what is its own by its number."""
    values = {"rows_per_step": 2 + number % 3, "save_steps": 4, "seed": number}
    job = Job(
        engine=engine,
        adapter=adapter,
        rows=dataset(12, seed=number),
        held=dataset(4, seed=90 + number),
        settings=TrainSettings(**values),
        folder=folder,
        keep_plan=RunFolder(folder).write_plan,
    )
    own = plan(steps=steps + number, lr=10.0 ** (-2 - number % 2), **changes)
    return Member(job, own, adam(job))


def run(members, **options):
    """Losses by member, and the last event of each."""
    losses, last = {id(m): [] for m in members}, {}
    for each, event in train(members, **options):
        last[id(each)] = event
        if isinstance(event, StepDone):
            losses[id(each)].append(event.loss)
    return losses, last


@pytest.mark.parametrize(("family", "budget"), covering(TIES, {30: ["many"], 100_000: ["one"]}))
def test_together_each_adapter_trains_as_it_does_alone(family, budget, tmp_path):
    def made(name, engine, folder):
        return member(name, engine, tmp_path / folder, tokens_per_micro_batch=budget)

    engines = [prepare_(tiny_model(family, torch.float32)) for _ in range(1 + len(SETTINGS))]
    assert_each_as_alone(SETTINGS, engines, made)


@pytest.mark.parametrize("family", STATES)
def test_a_recurrent_state_is_that_of_each_adapters_own_documents(family, tmp_path):
    def made(name, engine, folder):
        return member(name, engine, tmp_path / folder, steps=2, tokens_per_micro_batch=60)

    names = ["rank 2", "dropout", "prompt"]
    engines = [prepare_(tiny_model(family, torch.float32)) for _ in range(1 + len(names))]
    assert_each_as_alone(names, engines, made)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("family", "four_bit"), [*PLAIN_PAIRS, (EXPERTS, False)])
def test_every_variant_trains_among_all_others_as_it_does_alone(family, four_bit, tmp_path):
    names = [n for n in VARIANTS if n != "full" and (n in FOUR_BIT) == four_bit]
    names = [n for n in names if fits(family, n)]

    def made(name, engine, folder):
        number = list(VARIANTS).index(name)
        adapter = attach(engine, name, tmp_path / "base", name=name, seed=number)
        return member_of(
            *(adapter, engine, tmp_path / folder / name),
            **{"number": number % 4, "steps": 3, "tokens_per_micro_batch": 100_000},
        )

    engines = [engine_for(family, names[0], tmp_path / "base") for _ in range(1 + len(names))]
    assert_each_as_alone(names, engines, made)


def assert_each_as_alone(names, engines, made):
    """All over the first engine, and each over one of the others: losses, states and tensors."""
    together = [made(name, engines[0], "together") for name in names]
    losses, last = run(together)
    for name, each, engine in zip(names, together, engines[1:], strict=True):
        alone = made(name, engine, "alone")
        expected, _ = run([alone])
        assert last[id(each)] == Ended(alone.state.step, "done")
        assert losses[id(each)] == pytest.approx(expected[id(alone)], rel=1e-5, abs=1e-6), name
        assert each.state.best_loss == pytest.approx(alone.state.best_loss, rel=1e-5)
        assert each.state.tokens == alone.state.tokens
        for key, tensor in tensors(alone.job).items():
            torch.testing.assert_close(tensors(each.job)[key], tensor, rtol=1e-4, atol=1e-5)


def test_small_steps_share_streams_and_large_ones_do_not(tmp_path, monkeypatch):
    engine = prepare_(tiny_model("llama", torch.float32))
    sizes = []
    states = type(engine).hidden_states

    def counted(self, batch, **options):
        if torch.is_grad_enabled():
            sizes.append(len(batch.ids))
        return states(self, batch, **options)

    monkeypatch.setattr(type(engine), "hidden_states", counted)
    members = [member(n, engine, tmp_path, steps=1) for n in ("rank 2", "rank 9", "dropout")]
    members = [replace(each, plan=replace(each.plan, steps=1)) for each in members]
    for each in members:
        each.plan = replace(each.plan, tokens_per_micro_batch=70)
    steps = [next(each.job.steps(0)) for each in members]
    run(members)
    lengths = [
        [each.job.rows.lengths[i] for i in s] for each, s in zip(members, steps, strict=True)
    ]
    own = sum(
        len(micro_batches(s, each.job.rows.lengths, tokens=70))
        for each, s in zip(members, steps, strict=True)
    )
    assert sum(sizes) == sum(map(sum, lengths))
    assert len(sizes) < own
    assert max(sizes) <= 70


def test_one_that_fails_ends_alone_and_names_its_rows(tmp_path):
    engine = prepare_(tiny_model("llama", torch.float32))
    bad, good = (member(n, engine, tmp_path) for n in ("rank 2", "rank 9"))
    next(iter(bad.job.adapter.parameters.values())).data.fill_(math.inf)
    bad.job.adapter.refresh()
    _, last = run([bad, good])
    assert last[id(bad)] == Ended(0, "failed")
    assert "rows.jsonl:" in str(bad.error)
    assert last[id(good)] == Ended(good.plan.steps, "done")
    assert good.error is None


def test_a_stop_saves_all_and_a_resumed_group_ends_as_the_unbroken_one(tmp_path):
    names = ("rank 2", "dropout", "p-tuning")

    def group(folder):
        engine = prepare_(tiny_model("llama", torch.float32))
        return [member(n, engine, tmp_path / folder) for n in names]

    unbroken = group("a")
    run(unbroken)
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        return asked == 3

    first = group("b")
    _, last = run(first, progress=Progress(cancelled=stop))
    assert set(last.values()) == {Ended(3, "stopped")}
    second = group("b")
    for each in second:
        newest = checkpoint.newest(each.job.folder / "checkpoints")
        each.state, _ = checkpoint.restore_(newest, each.job.adapter.parameters, each.adam)
        each.job.adapter.refresh()
    run(second)
    for a, b in zip(unbroken, second, strict=True):
        for key, tensor in tensors(a.job).items():
            assert torch.equal(tensors(b.job)[key], tensor), key


def test_a_member_that_is_at_its_end_ends_at_once(tmp_path):
    engine = prepare_(tiny_model("llama", torch.float32))
    done, going = (member(n, engine, tmp_path) for n in ("rank 2", "rank 9"))
    done.state = replace(done.state, step=done.plan.steps)
    events = list(train([done, going]))
    assert events[0] == (done, Ended(done.plan.steps, "done"))
    assert any(isinstance(event, Saved) for _, event in events)


@pytest.mark.parametrize("stopped_in", [0, 1, 2])
def test_a_stop_in_one_held_out_loss_ends_all_at_the_same_step(tmp_path, monkeypatch, stopped_in):
    """Else those before it would be a step ahead when they resume, as a search must not be."""
    engine = prepare_(tiny_model("llama", torch.float32))
    members = [member(name, engine, tmp_path) for name in list(SETTINGS)[:3]]
    heard, real = [], held_out._sums

    def counted(job, *rest):
        heard.append(job is members[stopped_in].job)
        return real(job, *rest)

    monkeypatch.setattr(held_out, "_sums", counted)
    _, last = run(members, progress=Progress(cancelled=lambda: any(heard)))
    assert [last[id(each)] for each in members] == [Ended(4, "stopped")] * 3
    assert [each.state.hold_due for each in members] == [i >= stopped_in for i in range(3)]
    for each in members:
        newest = checkpoint.newest(each.job.folder / "checkpoints")
        assert checkpoint.step_of(newest) == 4
