"""Terms of many adapters in two products add what each adds by itself, in its own rows only."""

import pytest
import torch

from tests.families import make_exact, tiny_model
from tests.variants import attach
from tunesmith.config.methods import LoraSettings
from tunesmith.engine import joined_terms, linear
from tunesmith.engine.forward import prepare_
from tunesmith.generation.decoder import Decoder, Prompt
from tunesmith.methods import table

KINDS = {
    "a": LoraSettings(rank=2),
    "b": LoraSettings(rank=3, alpha=5),
    "c": LoraSettings(rank=2, dora=True),
    "d": LoraSettings(rank=1, targets=["q_proj", "down_proj"]),
    "e": LoraSettings(rank=4, init="pissa"),
}
ROWS = ["a", "a", "c", "d", None, "b", "soft", "ia3", "e", "b"]  # of no order


@pytest.fixture
def engine(monkeypatch, tmp_path):
    make_exact(monkeypatch)
    engine = prepare_(tiny_model("llama"))
    adapters = [table.attach(engine, settings, name=name) for name, settings in KINDS.items()]
    others = {"soft": "prompt", "ia3": "ia3"}
    adapters += [attach(engine, kind, tmp_path, name=name) for name, kind in others.items()]
    for number, adapter in enumerate(adapters):
        generator = torch.Generator().manual_seed(number)
        for parameter in adapter.trained.values():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = parameter.data.double().add_(0.3 * noise)
        adapter.refresh()
    return engine


def step(engine, adapters, tokens=(7, 9)):
    """Scores of a step of rows that read a few tokens before."""
    decoder = Decoder(engine, slots=len(adapters), capacity=24)
    decoder.read({i: Prompt((3, 5 + i, 8), name) for i, name in enumerate(adapters)})
    return torch.stack([decoder.step(dict.fromkeys(range(len(adapters)), t)) for t in tokens])


def apart(monkeypatch, engine, adapters):
    with monkeypatch.context() as patch:
        patch.setattr(linear, "join", lambda *_: None)
        return step(engine, adapters)


@pytest.mark.parametrize("adapters", [ROWS, ROWS[::-1], ["a", "b"], ["b", "a", "a", "e"]])
def test_joined_terms_add_what_each_adds(engine, monkeypatch, adapters):
    expected = apart(monkeypatch, engine, adapters)
    close(step(engine, adapters), expected)
    assert joined(engine) >= set(adapters) - {None, "soft", "ia3"}


def test_what_was_renewed_attached_anew_or_scaled_is_joined_anew(engine, monkeypatch):
    adapters, name = ["e", "b", "a"], "model.layers.0.mlp.up_proj"
    before = step(engine, adapters)
    known = engine.linears[name]._joined
    close(step(engine, adapters[:2]), before[:, :2])
    assert engine.linears[name]._joined is known, "it holds them"
    for linear_ in engine.linears.values():
        linear_.terms["b"].scale = 0.5
        linear_.terms["e"] = linear_.terms["c"]
        term = linear_.terms["a"]
        term.b.data.mul_(3)
        term.refresh()
    after = step(engine, adapters)
    close(after, apart(monkeypatch, engine, adapters))
    assert (after - before).abs().amax((0, 2)).min() > 1e-3


def test_a_term_that_is_not_finite_reaches_no_other_row(engine):
    expected = step(engine, ["a", "b", None])
    for linear_ in engine.linears.values():
        term = linear_.terms["e"]
        term.b.data.fill_(torch.nan)
        term.a.data.mul_(1e300)
        term.refresh()
    found = step(engine, ["a", "b", None, "e"])
    close(found[:, :3], expected)
    assert found[:, 3].isnan().all()


def test_many_rows_of_each_adapter_stay_apart(engine, monkeypatch):
    monkeypatch.setattr(joined_terms, "MAX_WASTE", 10)
    step(engine, ["a", "b"] * 3)
    assert not joined(engine)


def joined(engine):
    found = [each._joined for each in engine.linears.values()]
    return {name for each in found if each is not None for name in each.copies}


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
