"""What is cheap is computed again to the last bit, and what it came from is all that is kept."""

import pytest
import torch

from tests.covering import pairs
from tests.families import FAMILIES, tiny_model
from tests.methods.test_contract import rows
from tunesmith.config import FullSettings, LoraSettings
from tunesmith.config.methods import PromptSettings, PTuningSettings
from tunesmith.config.run import RECOMPUTE
from tunesmith.engine import autograd
from tunesmith.engine.batch import Dropout
from tunesmith.engine.forward import prepare_
from tunesmith.engine.head import loss_sum
from tunesmith.engine.pack import pack
from tunesmith.methods import table

METHODS = {
    "lora": LoraSettings(rank=3),
    "dropout": LoraSettings(rank=3, dropout=0.3),
    "dora": LoraSettings(rank=3, dora=True, init="pissa"),
    "lora-fa": LoraSettings(rank=3, freeze_a=True),
    "some layers": LoraSettings(rank=3, targets=["*[no]_proj", "model.layers.1.*"]),  # down, o
    "full": FullSettings(),
    "prompt": PromptSettings(tokens=4),
    "p-tuning": PTuningSettings(tokens=4),
}


def made(family, method):
    engine = prepare_(tiny_model(family, torch.float32))
    adapter = table.attach(engine, METHODS[method], name="a", seed=1)
    generator = torch.Generator().manual_seed(5)
    for parameter in adapter.trained.values():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    adapter.refresh()
    return engine, adapter, adapter.name if adapter.frozen_base else None


def gradients(engine, adapter, name, recompute):
    """Loss, gradients and the bytes that autograd keeps for the layers' backward."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    for parameter in adapter.trained.values():
        parameter.grad = None
    dropout = {name: Dropout(seed=1, step=2)}
    batch = pack(rows(name, count=5), dropout=dropout, prefixes=engine.prefixes)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = engine.hidden_states(batch, recompute=recompute)
    loss = loss_sum(hidden, batch, engine.head)
    loss.backward()
    own = {t.untyped_storage().data_ptr() for t in engine.model.state_dict().values()}
    found = {key: p.grad.clone() for key, p in adapter.trained.items()}
    return loss.detach(), found, sum(size for at, size in kept.items() if at not in own)


@pytest.mark.parametrize(("family", "method"), pairs(FAMILIES, METHODS))
def test_gradients_are_the_same_to_the_last_bit_and_less_is_kept(family, method):
    engine, adapter, name = made(family, method)
    loss, expected, whole = gradients(engine, adapter, name, "none")
    kept = [whole]
    for recompute in RECOMPUTE[1:]:
        again_loss, found, size = gradients(engine, adapter, name, recompute)
        assert torch.equal(again_loss, loss)
        for key, gradient in expected.items():
            assert torch.equal(found[key], gradient), key
        kept.append(size)
    assert kept == sorted(kept, reverse=True)
    needs_inputs = METHODS[method].kind in ("lora", "full") and method != "lora-fa"
    if needs_inputs:
        assert kept[1] < 0.9 * kept[0]
    assert kept[2] < 0.6 * kept[0]


def test_users_share_one_result_and_the_last_lets_it_go():
    computed = []

    def compute(a, b):
        computed.append(1)
        return a + b

    x, y = torch.ones(2), torch.ones(2)
    how, sources = autograd.marked(autograd.mark(x + y, compute, x, y))
    how.users = 3
    results = [how.take(sources) for _ in range(3)]
    assert all(result is results[0] for result in results)
    assert len(computed) == 1
    assert how._value is None
    assert autograd.marked(x) == (None, None)


def test_nothing_is_marked_outside_a_layer_or_where_all_is_kept(monkeypatch):
    engine, adapter, name = made("llama", "lora")
    marks = []
    mark = autograd.mark
    monkeypatch.setattr(
        "tunesmith.engine.fused.mark", lambda *given: marks.append(1) or mark(*given)
    )
    counts = []
    for recompute in RECOMPUTE:
        marks.clear()
        gradients(engine, adapter, name, recompute)
        counts.append(len(marks))
    assert counts == [0, 3 * 3, 0]  # two norms and a unit in each of three layers
    engine.hidden_states(pack(rows(name)), recompute="activations")
    with torch.no_grad():
        marks.clear()
        engine.hidden_states(pack(rows(name)), recompute="activations")
    assert not marks
