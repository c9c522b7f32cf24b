"""AdamW in 8 bit: bitsandbytes' own numbers in less memory, kept and restored to the last bit."""

import sys
from dataclasses import replace

import bitsandbytes
import pytest
import torch
from safetensors.torch import load_file

from tests.train.test_loop import resumed, run
from tests.train.tiny import adam, dataset, plan, tensors, tiny_job
from tunesmith.errors import ConfigError, RunError
from tunesmith.methods.adapter import Adapter
from tunesmith.train import adamw8bit, checkpoint, optimizer
from tunesmith.train.loop import held_out_loss

SHAPES = {"matrix": (300, 70), "small": (41,), "blocks": (64, 128), "one more": (4097,)}
STATES = {
    "exp_avg": "state1",
    "exp_avg_sq": "state2",
    "exp_avg_scales": "absmax1",
    "exp_avg_sq_scales": "absmax2",
}


def adapter_of(shapes, **options):
    g = torch.Generator().manual_seed(0)
    parameters = {
        name: torch.nn.Parameter(torch.randn(shape, generator=g)) for name, shape in shapes.items()
    }
    nothing = {"refresh": lambda: None, "detach": lambda: None}
    return Adapter(name="a", settings=None, parameters=parameters, **nothing, **options)


def test_the_numbers_are_bitsandbytes_own_though_updated_in_pieces(monkeypatch):
    monkeypatch.setattr(adamw8bit, "PIECE", 1024)
    options = {"decayed": frozenset({"matrix", "one more"}), "rates": {"matrix": 4.0}}
    adapter = adapter_of(SHAPES, **options)
    mine, others = adapter.parameters, adapter_of(SHAPES).parameters
    ours = optimizer.build(adapter, lr=1.0, weight_decay=0.1, kind="adamw8bit")
    theirs = bitsandbytes.optim.AdamW8bit(
        [
            {
                "params": [parameter],
                "weight_decay": 0.1 * (name in options["decayed"]),
                "lr": 0.01 * options["rates"].get(name, 1.0),
            }
            for name, parameter in others.items()
        ]
    )
    optimizer.set_rate_(ours, 0.01)
    g = torch.Generator().manual_seed(1)
    for _ in range(5):
        for name, shape in SHAPES.items():
            others[name].grad = torch.randn(shape, generator=g) * 0.01
            mine[name].grad.copy_(others[name].grad)
        ours.step()
        theirs.step()
        for name, parameter in mine.items():
            assert torch.equal(parameter, others[name])
            state = {k: v for k, v in ours.state[parameter].items() if k != "step"}
            assert (len(state) == 4) == (name != "small")
            for key, tensor in state.items():
                assert torch.equal(tensor, theirs.state[others[name]][STATES[key]])


def state_bytes(kind):
    adapter = adapter_of({"a": (1024, 1024)})
    built = optimizer.build(adapter, lr=0.1, weight_decay=0.0, kind=kind)
    state = optimizer.state_tensors(built, adapter.parameters)
    assert all(not tensor.any() for kind in state.values() for tensor in kind.values())
    return sum(t.nbytes for kind in state.values() for t in kind.values()) / adapter.size


def test_the_state_is_made_at_once_and_takes_a_quarter():
    assert state_bytes("adamw") == 8
    assert state_bytes("adamw8bit") == 2 + 2 * 4 / 256


@pytest.fixture
def _mixed(monkeypatch):
    """So low a bound that the tiny jobs have moments in 8 bit and in 32."""
    monkeypatch.setattr(adamw8bit, "SMALLEST", 60)


@pytest.mark.usefixtures("_mixed")
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_resumed_run_equals_the_unbroken_one_bit_for_bit(tmp_path, method):
    def job(name):
        return tiny_job(tmp_path / name, method, optimizer="adamw8bit")

    unbroken, first, second = job("a"), job("b"), job("b")
    run(unbroken, plan())
    run(first, plan(), stop_after=4)
    newest = checkpoint.newest(tmp_path / "b" / "checkpoints")
    codes, scales = (load_file(newest / f"exp_avg{end}.safetensors") for end in ("", "_scales"))
    formats = {name: tensor.dtype for name, tensor in codes.items()}
    assert set(formats.values()) == {torch.uint8, torch.float32}
    assert scales.keys() == {name for name, dtype in formats.items() if dtype == torch.uint8}
    state, restored = resumed(second)
    run(second, plan(), state=state, optimizer=restored)
    for name, expected in tensors(unbroken).items():
        assert torch.equal(tensors(second)[name], expected), name


@pytest.mark.usefixtures("_mixed")
@pytest.mark.parametrize("kinds", [("adamw", "adamw8bit"), ("adamw8bit", "adamw")])
def test_a_checkpoint_of_the_other_optimizer_is_refused(tmp_path, kinds):
    before, after = (tiny_job(tmp_path, "lora", optimizer=kind) for kind in kinds)
    run(before, plan(), stop_after=2)
    with pytest.raises(RunError) as error:
        checkpoint.restore_(
            checkpoint.newest(tmp_path / "checkpoints"), after.adapter.parameters, adam(after)
        )
    assert "train.optimizer" in error.value.remedy


@pytest.mark.usefixtures("_mixed")
def test_it_learns_as_much_as_in_32_bit(tmp_path):
    losses = {}
    for kind in ("adamw", "adamw8bit"):
        job = tiny_job(tmp_path / kind, "full", held=False, optimizer=kind)
        job = replace(job, rows=dataset())
        start = held_out_loss(job, job.rows, tokens=1000)
        run(job, plan(steps=40, lr=3e-3))
        losses[kind] = held_out_loss(job, job.rows, tokens=1000)
    assert losses["adamw"] < start - 1
    assert losses["adamw8bit"] == pytest.approx(losses["adamw"], rel=0.05)


def test_without_bitsandbytes_it_is_refused(monkeypatch):
    adamw8bit._functional.cache_clear()
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ConfigError, match="adamw8bit needs bitsandbytes"):
        optimizer.build(adapter_of(SHAPES), lr=0.1, weight_decay=0.0, kind="adamw8bit")
