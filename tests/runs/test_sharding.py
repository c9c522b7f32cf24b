"""Runs whose base is sharded over ranks: the same results, what each takes, refusals."""

import pytest
from safetensors.torch import load_file

from tests.ranks import all_of, on_ranks
from tests.runs.tiny import base_folder, config, rows_file
from tunesmith.core.errors import MemoryRefusal, TunesmithError
from tunesmith.core.progress import SILENT, Progress
from tunesmith.engine.shard import own_part
from tunesmith.estimate.memory import AHEAD
from tunesmith.runs import sharding
from tunesmith.runs.run import train_run

TRAIN = {"steps": 4, "rows_per_step": 3, "save_steps": 2, "lr": 0.01, "retention": "none"}
CUT = {**TRAIN, "tokens_per_micro_batch": 64}  # the same on any number of ranks


def result_of(folder, kind, name, **train):
    """A run's losses and score, the tensors of its result as numbers, and what was said of it."""
    notices = []
    made = config(folder, method={"kind": kind}, out=str(folder / name), train={**CUT, **train})
    summary = train_run(made, progress=Progress(on_event=notices.append))
    said = [each.message for each in notices if getattr(each, "code", None) == "shard"]
    numbers = summary.train_loss, summary.eval_loss
    return numbers, summary.evaluation["arms"]["tuned"]["checks"], tensors_in(folder / name), said


def tensors_in(run):
    """The tensors of adapter/ or model/, flat, by name."""
    files = [*run.glob("adapter/*.safetensors"), *run.glob("model/*.safetensors")]
    return {
        name: tensor.flatten().tolist()
        for path in files
        for name, tensor in load_file(path).items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_a_run_over_a_sharded_base_ends_as_one_over_a_whole_one(kind, tmp_path, home):
    config(tmp_path)  # makes what both read
    ((numbers, checks, tensors, said),) = all_of(1, lambda: result_of(tmp_path, kind, "alone"))
    assert not said
    for found in all_of(2, lambda: result_of(tmp_path, kind, "shared", shard=True)):
        assert found[0] == pytest.approx(numbers, rel=1e-6)
        assert found[1] == checks
        assert found[2].keys() == tensors.keys()
        assert kind == "full" or found[2] == tensors
        for name, tensor in tensors.items():
            assert found[2][name] == pytest.approx(tensor, rel=1e-3, abs=1e-5), name
        assert "sharded over 2 ranks" in found[3][0]


def refusal(folder, **changes):
    made = config(folder, **changes)
    try:
        train_run(made)
    except TunesmithError as error:
        return error.message, error.remedy
    return None


def test_one_rank_has_nobody_to_share_with(tmp_path):
    message, remedy = refusal(tmp_path, train={**TRAIN, "shard": True})
    assert (
        message == "train.shard is true, but there is one rank: layers are divided among several."
    )
    assert "--ranks" in remedy
    assert not (tmp_path / "run").exists()


def test_moments_in_blocks_cannot_be_sharded(tmp_path):
    settings = {**TRAIN, "shard": True, "optimizer": "adamw8bit"}
    config(tmp_path)
    first, _ = on_ranks(2, lambda: refusal(tmp_path, method={"kind": "full"}, train=settings))
    assert "adamw8bit" in first[0]
    assert first[1] == "Set train.optimizer to adamw, or train.shard to false."


def test_a_base_that_fits_is_whole_and_one_that_does_not_is_sharded(tmp_path, monkeypatch):
    def work():
        made = config(tmp_path, device="cpu")
        took = sharding.memory_of(made, SILENT)
        found = []
        for free in (2 * took.whole, took.whole, took.whole // 4):
            monkeypatch.setattr("tunesmith.engine.memory.available_bytes", lambda _, f=free: 2 * f)
            try:
                found.append(sharding.is_sharded_run(made, SILENT))
            except MemoryRefusal as error:
                found.append(error.remedy)
        return found

    base_folder(tmp_path / "base", num_hidden_layers=12)
    rows_file(tmp_path / "rows.jsonl")
    for whole, shared, refused in all_of(2, work):
        assert (whole, shared) == (False, True)
        assert refused == "Use more ranks than 2, --method qlora or a smaller base."


@pytest.mark.parametrize(("kind", "state"), [("lora", None), ("qlora", None), ("full", 8.0)])
def test_what_a_rank_takes_is_what_it_holds(kind, state, tmp_path, home):
    """Parameters, codes and scales; gradients and moments of `full`."""

    def work():
        made = config(tmp_path, method={"kind": kind}, train={**TRAIN, "shard": True})
        loaded = sharding.open_for_ranks(made, progress=SILENT)
        model = loaded.engine.model
        held = sum(own_part(p).nbytes for p in model.parameters())
        states = [
            module.quant_state for module in model.modules() if hasattr(module, "quant_state")
        ]
        held += sum(
            each.absmax.nbytes + each.state2.absmax.nbytes for each in states if each is not None
        )
        found = sharding.memory_of(made, SILENT)
        return held, found.of_rank(2) - AHEAD * found.layer, found.whole

    config(tmp_path)
    for held, expected, whole in all_of(2, work):
        times = 1 if state is None else (8 + state) / 4
        assert times * held == pytest.approx(expected, rel=0.01)
        assert expected < whole
