"""What is set before a device is used, and what of it is recorded."""

import os

import pytest
import torch

from tunesmith.engine import device as module
from tunesmith.engine.device import card_of, describe, set_up
from tunesmith.training.checkpoint import arithmetic

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.fixture
def called(monkeypatch):
    """What was switched, in place of switching it."""
    calls = []
    for name in ("bound_kernel_caches", "keep_freed_memory"):
        monkeypatch.setattr(module, name, lambda name=name: calls.append(name))
    monkeypatch.setattr(
        torch, "use_deterministic_algorithms", lambda mode, **_: calls.append("deterministic")
    )
    fill = torch.utils.deterministic.fill_uninitialized_memory
    monkeypatch.setitem(os.environ, "CUBLAS_WORKSPACE_CONFIG", "")
    del os.environ["CUBLAS_WORKSPACE_CONFIG"]
    yield calls
    torch.utils.deterministic.fill_uninitialized_memory = fill


def test_a_cpu_keeps_freed_memory_and_a_card_sums_in_one_order(called):
    set_up(CPU)
    assert called == ["bound_kernel_caches", "keep_freed_memory"]
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    called.clear()
    set_up(CUDA)
    assert called == ["deterministic"]
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_the_users_workspace_stays(called, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    set_up(CUDA)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_card_driver_and_switches_are_what_a_resumed_run_is_compared_by(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Release Build")
    monkeypatch.setattr(module, "_DRIVER", version)
    found = describe(CUDA)
    assert found["device"] == card_of(CUDA) == "NVIDIA H100 80GB HBM3"
    assert found["driver"] == "570.86.15"
    assert {"cuda", "tf32", "deterministic"} <= found.keys()
    assert found.items() <= arithmetic(CUDA).items()
    assert arithmetic(CPU).keys() == {"torch", "threads", "capability", "machine", "device"}
    assert card_of(CPU) is None


def test_tensors_of_all_formats_arrive_as_they_were_sent(monkeypatch):
    """By the copy of an accelerator, which here ends on the CPU."""
    sent = [
        torch.arange(5),
        torch.zeros(0, 0),
        torch.tensor([0.5, -1.0, 2.0]),
        torch.ones(3, 1, dtype=torch.bool),
        torch.tensor(7),
        torch.randn(2, 3, dtype=torch.bfloat16),
    ]
    copies = []
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_, **how: copies.append(how) or self)
    arrived = module.send(sent, torch.device("meta"))
    assert copies == [{"non_blocking": True}]
    for one, other in zip(sent, arrived, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one, other)
    assert module.send(sent, CPU)[0] is sent[0]
