"""AdamW in 8 bit: as in 32 up to the moments' rounding, kept and restored to the last bit."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_loop import resumed, run
from tests.training.tiny import adam, dataset, plan, tensors, tiny_job
from tunesmith.core.errors import RunError
from tunesmith.methods.adapter import Adapter
from tunesmith.models.four_bit import functional
from tunesmith.training import checkpoint, optimizer
from tunesmith.training.held_out import held_out_loss

SHAPES = {"matrix": (300, 70), "small": (41,), "blocks": (64, 128), "one more": (4097,)}


def adapter_of(shapes, **options):
    g = torch.Generator().manual_seed(0)
    parameters = {
        name: torch.nn.Parameter(torch.randn(shape, generator=g)) for name, shape in shapes.items()
    }
    nothing = {"refresh": lambda: None, "detach": lambda: None}
    return Adapter(name="a", settings=None, parameters=parameters, **nothing, **options)


@pytest.mark.parametrize("signed", [True, False])
def test_codes_stand_for_bitsandbytes_numbers_and_are_the_nearest(signed):
    numbers = optimizer.dynamic_map(signed=signed)
    assert torch.equal(numbers, functional().create_dynamic_map(signed=signed))
    g = torch.Generator().manual_seed(0)
    wide = torch.randn(5000, generator=g) * torch.exp(3 * torch.randn(5000, generator=g))
    values = torch.cat([wide if signed else wide.square(), torch.zeros(500)])
    codes, scales = torch.empty(5500, dtype=torch.uint8), torch.empty(22)
    optimizer._write_(codes, scales, values, signed=signed)
    found = optimizer._read(codes, scales, signed=signed)
    largest = torch.nn.functional.pad(values, (0, 132)).view(-1, 256).abs().amax(1)
    assert torch.equal(scales, largest)
    scale = scales.repeat_interleave(256)[:5500]
    shares = values / scale.clamp_min(1e-30)
    best = (shares[:, None] - numbers).abs().amin(1)
    # Rounded to bf16 before: twice 2**-8 of itself. No second moment above zero becomes zero.
    bound = best + shares.abs() * 2**-7 + (0 if signed else numbers[1])
    assert ((found - values).abs() <= bound * scale * 1.001).all()
    assert (found[5000:] == 0).all()
    if not signed:
        assert (found[:5000] > 0).all()


def test_it_is_adamw_up_to_the_rounding_of_the_moments(monkeypatch):
    monkeypatch.setitem(optimizer.PIECES, "cpu", 1024)
    adapters = {kind: adapter_of(SHAPES, rates={"matrix": 4.0}) for kind in optimizer.KINDS}
    start = {name: p.detach().clone() for name, p in adapters["adamw"].parameters.items()}
    g = torch.Generator().manual_seed(1)
    built = {
        kind: optimizer.build(a, lr=1.0, weight_decay=0.1, kind=kind)
        for kind, a in adapters.items()
    }
    for _ in range(20):
        for name, shape in SHAPES.items():
            gradient = (torch.randn(shape, generator=g) + 0.5) * 0.01
            for adapter in adapters.values():
                adapter.parameters[name].grad.copy_(gradient)
        for each in built.values():
            optimizer.set_rate_(each, 0.01)
            each.step()
    for name in SHAPES:
        way = adapters["adamw"].parameters[name] - start[name]
        apart = adapters["adamw8bit"].parameters[name] - adapters["adamw"].parameters[name]
        assert apart.norm() < (1e-5 if name == "small" else 0.03) * way.norm(), name


def test_weights_without_a_gradient_stay():
    adapter = adapter_of({"a": (8192,)})
    (parameter,) = adapter.parameters.values()
    before = parameter.detach().clone()
    built = optimizer.build(adapter, lr=0.1, weight_decay=0.0, kind="adamw8bit")
    g = torch.Generator().manual_seed(0)
    for _ in range(5):
        parameter.grad.normal_(generator=g)[1::2] = 0
        built.step()
    assert torch.equal(parameter[1::2], before[1::2])
    assert (parameter[::2] != before[::2]).all()


def test_pieces_and_blocks_change_nothing(monkeypatch):
    ends = []
    for size in (256, 1024, 2**20):
        monkeypatch.setitem(optimizer.PIECES, "cpu", size)
        adapter = adapter_of(SHAPES)
        built = optimizer.build(adapter, lr=0.01, weight_decay=0.1, kind="adamw8bit")
        g = torch.Generator().manual_seed(1)
        for _ in range(3):
            for parameter in adapter.parameters.values():
                parameter.grad.normal_(generator=g)
            built.step()
        state = optimizer.state_tensors(built, adapter.parameters)
        ends.append(
            [*adapter.parameters.values(), *(t for k in state.values() for t in k.values())]
        )
    for others in ends[1:]:
        assert all(torch.equal(a, b) for a, b in zip(ends[0], others, strict=True))


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
    monkeypatch.setattr(optimizer, "SMALLEST", 60)


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
