"""The MLP of prefix tuning: its gradients are autograd's, and its steps as large as without it."""

import pytest
import torch

from tests.families import KEYED, STATES, make_exact, tiny_model
from tests.methods.test_contract import rows, states
from tunesmith.config.methods import PTuningSettings
from tunesmith.core.errors import ConfigError
from tunesmith.engine.blocks import Learned
from tunesmith.engine.forward import prepare_
from tunesmith.methods import p_tuning, table
from tunesmith.training import optimizer


def attached(family, dtype, width=7):
    engine = prepare_(tiny_model(family, dtype))
    settings = PTuningSettings(tokens=5, projection=width)
    return engine, table.attach(engine, settings, name="a", seed=2)


@pytest.mark.parametrize("family", KEYED)
def test_gathered_gradients_equal_plain_autograd_through_the_mlp(family, monkeypatch):
    make_exact(monkeypatch)
    engine, adapter = attached(family, torch.float64)
    generator = torch.Generator().manual_seed(6)
    for parameter in adapter.trained.values():
        parameter.data.normal_(0, 0.3, generator=generator)
    adapter.refresh()
    made = rows("a", count=4)
    for group in (made[:1], made[1:3], made[3:]):
        states(engine, group)[1].backward()
    assert all(p.grad is None for p in adapter.parameters.values())
    adapter.gather()
    parts = p_tuning.made_by(adapter.parameters).transpose(0, 2).unbind(1)  # 2 L [G, P, Dh]
    engine.prefixes["a"] = Learned(parts[::2], parts[1::2])
    _, whole = states(engine, made)
    expected = torch.autograd.grad(whole, list(adapter.trained.values()))
    for (name, parameter), plain in zip(adapter.trained.items(), expected, strict=True):
        assert plain.abs().max() > 1e-4, name
        torch.testing.assert_close(parameter.grad, plain, rtol=1e-9, atol=1e-9)
    before = parameter.grad.clone()
    adapter.gather()
    assert torch.equal(parameter.grad, before), "a gradient is counted once"


@pytest.mark.parametrize("family", STATES)
def test_a_base_with_a_recurrent_state_is_refused_with_the_layers(family):
    engine = prepare_(tiny_model(family))
    with pytest.raises(
        ConfigError, match=r"a recurrent state instead in 2 of 3 layers \(0, 2\)"
    ) as refused:
        table.attach(engine, PTuningSettings(tokens=5), name="a")
    assert "prompt" in refused.value.remedy
    assert not engine.prefixes


@pytest.mark.parametrize("width", [4, 400])
def test_a_first_step_moves_keys_and_values_about_as_far_as_without_an_mlp(width):
    engine, adapter = attached("llama", torch.float32, width)
    block = engine.prefixes["a"]
    before = [t.detach().clone() for t in (*block.keys, *block.values)]
    adam = optimizer.build(adapter, lr=0.01, weight_decay=0.0)
    optimizer.set_rate_(adam, 0.01)
    states(engine, rows("a"))[1].backward()
    adapter.gather()
    adam.step()
    adapter.refresh()
    after = (*block.keys, *block.values)
    moved = torch.cat([(a - b).abs().flatten() for a, b in zip(after, before, strict=True)])
    assert 0.005 < moved.median() < moved.max() < 0.021


def test_the_start_is_kept_with_the_mlp_and_is_not_trained():
    _, adapter = attached("gemma2", torch.float32)
    assert p_tuning.START in adapter.parameters
    assert adapter.parameters.keys() - adapter.trained.keys() == {p_tuning.START}
    other = attached("gemma2", torch.float32)[1]
    for name, parameter in adapter.parameters.items():
        assert torch.equal(other.parameters[name], parameter), name
