"""The norm as one operation of torch's, as on CUDA: what transformers and our own passes give."""

import pytest
import torch

from tests.engine.test_contract import TOLERANCE, assert_same_gradients, packed, reference, rows
from tests.engine.test_varlen import distance
from tests.families import FAMILIES, TRAITS, make_exact
from tests.kernels import stand_in_norm
from tests.training.test_accelerator import assert_waits_once, engine_for, member
from tunesmith.config import LoraSettings
from tunesmith.engine import fused
from tunesmith.engine.pack import pack


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_equals_transformers_with_the_norm_in_one_operation(family, monkeypatch):
    make_exact(monkeypatch)
    made = rows()
    _, total, grads = reference(family, made)
    calls = stand_in_norm(monkeypatch)
    _, _, ours, our_grads = packed(family, [pack(made)], "activations")
    torch.testing.assert_close(ours, total, **TOLERANCE)
    assert_same_gradients(our_grads, grads)
    assert bool(calls) == ("mean norm" not in TRAITS[family])  # which is another one


def normed(x_like, weight_like):
    """A norm's output and gradients, in two formats."""
    generator = torch.Generator().manual_seed(0)
    x, g, w = (torch.randn(*s, generator=generator) for s in ((5, 3, 64), (5, 3, 64), (64,)))
    x, weight = x.to(x_like).requires_grad_(), w.to(weight_like).requires_grad_()
    y = fused._norm(x, weight, 1e-6)
    return [y.detach(), *torch.autograd.grad(y, [x, weight], g.to(x_like))]


@pytest.mark.parametrize("weight", [torch.float32, torch.bfloat16])
def test_16_bit_inputs_are_normed_as_by_our_own_passes(weight, monkeypatch):
    formats = torch.empty(0, dtype=torch.bfloat16), torch.empty(0, dtype=weight)
    expected = normed(*formats)
    calls = stand_in_norm(monkeypatch)
    for ours, theirs in zip(normed(*formats), expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert distance(ours, theirs.double()) < 1e-2
    assert calls


def test_a_step_on_an_accelerator_waits_once(tmp_path, monkeypatch):
    stand_in_norm(monkeypatch)
    assert_waits_once(member(engine_for("qwen3"), LoraSettings(rank=2), tmp_path))


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_on_a_card_the_norm_is_near_that_of_a_processor(dtype):
    like = torch.empty(0, dtype=dtype, device="cuda")
    assert fused._is_one_kernel(like)
    wide = torch.empty(0, dtype=torch.float64)
    for ours, theirs in zip(normed(like, like), normed(wide, wide), strict=True):
        assert distance(ours, theirs) < 2e-2
