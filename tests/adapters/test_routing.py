"""Routed adapters: PEFT's Arrow where it applies, each adapter alone and their sum as limits."""

import peft
import pytest
import torch
from peft.tuners.lora import ArrowConfig, create_arrow_model

from tests.adapters.combining import MIXED, SAME_RANK, change_tensors, make, sources
from tests.adapters.test_store import IDS, ours, theirs
from tests.families import tiny_model
from tunesmith.adapters import merge, routing, store
from tunesmith.adapters.routing import Routing
from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import table

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
LAYER = "model.layers.1.mlp.up_proj"


@pytest.fixture
def engine():
    return prepare_(tiny_model("llama", torch.float32))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mixed"), MIXED, dtype=torch.float32)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_routed_logits_are_those_of_pefts_arrow(top_k, engine, tmp_path):
    folders = make(tmp_path, SAME_RANK, dtype=torch.float32)
    for folder in folders.values():  # a direction that PEFT's 15 power iterations find

        def enlarge(name, tensor):
            tensor = tensor.clone()
            if "lora_A" in name:
                tensor[0] *= 6
            return tensor

        change_tensors(folder, enlarge)
    config = ArrowConfig(top_k=top_k, router_temperature=0.7, rng_seed=0)
    paths = [str(folder) for folder in folders.values()]
    model = create_arrow_model(tiny_model("llama", torch.float32), paths, config)
    assert isinstance(model, peft.PeftModel)
    routing.attach(engine, sources(folders), Routing(top_k, 0.7), name="a")
    right = theirs(model.eval())
    torch.testing.assert_close(ours(engine, "a"), right, rtol=0, atol=2e-4 * right.abs().max())
    assert not torch.allclose(ours(engine, None), right, atol=1e-2)


def test_the_prototype_is_the_direction_that_is_enlarged_most(mixed):
    for source in sources(mixed):
        product = source.product(LAYER)
        _, _, vt = torch.linalg.svd(product.rows(0, 48).double())
        assert float((routing.prototype(product) @ vt[0].float()).abs()) == pytest.approx(1)


def test_each_token_gets_the_sum_by_its_own_weights(mixed, engine):
    routing.attach(engine, sources(mixed), Routing(top_k=2), name="a")
    term, x = engine.linears[LAYER].terms["a"], torch.randn(5, 32)
    each = [source.product(LAYER) for source in sources(mixed)]
    prototypes = torch.stack([routing.prototype(product) for product in each])
    weights = Routing(top_k=2).weights(x, prototypes)
    assert ((weights > 0).sum(1) == 2).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    right = sum(
        w[:, None] * (x @ p.rows(0, 48).t()) for w, p in zip(weights.t(), each, strict=True)
    )
    torch.testing.assert_close(term.scale * term.inner(x) @ term.b.t(), right, **CLOSE)


def test_one_adapter_routed_is_that_adapter(mixed, engine):
    source = sources(mixed)[0]
    detach = routing.attach(engine, [source], Routing(), name="a")
    routed = ours(engine, "a")
    detach()
    assert not any("a" in linear.terms for linear in engine.linears.values())
    store.load(engine, source.folder, name="a")
    torch.testing.assert_close(routed, ours(engine, "a"), **CLOSE)


def test_very_warm_is_the_mean_of_all(mixed, engine):
    routing.attach(engine, sources(mixed), Routing(3, 1e9), name="a")
    layer, x = engine.linears[LAYER], torch.randn(5, 32)
    right = sum(source.product(LAYER).rows(0, 48) for source in sources(mixed)) / 3
    term = layer.terms["a"]
    torch.testing.assert_close(term.inner(x) @ term.b.t(), x @ right.t(), **CLOSE)


def test_documents_of_other_adapters_in_the_batch_are_left_alone(mixed, engine):
    routing.attach(engine, sources(mixed), Routing(), name="a")
    alone = {name: ours(engine, name) for name in ("a", None)}
    batch = pack([Row(IDS, [0.0] * len(IDS), adapter=name) for name in ("a", None, "a")])
    with torch.no_grad():
        found = engine.head.logits(engine.hidden_states(batch))
    assert {document.adapter for document in batch.documents} == alone.keys()
    for each in batch.documents:
        torch.testing.assert_close(found[each.start : each.stop], alone[each.adapter], **CLOSE)


def test_gradients_and_merging_are_refused(mixed, engine):
    source = sources(mixed)[0]
    routing.attach(engine, sources(mixed), Routing(), name="a")
    adapter = store.load(engine, source.folder, name="b")
    rows = [Row(IDS, [1.0] * len(IDS), adapter=name) for name in ("b", "a")]
    with pytest.raises(RuntimeError, match="for inference"):
        engine.hidden_states(pack(rows))
    with torch.no_grad():
        engine.hidden_states(pack(rows))
    engine.linears[LAYER].terms["b"] = engine.linears[LAYER].terms["a"]
    with pytest.raises(AdapterError, match="no weights to merge"):
        list(merge.changed(engine, table.merge(engine, adapter)))


def test_another_base_and_odd_settings_are_refused(mixed):
    with pytest.raises(AdapterError, match="not made for this base"):
        routing.attach(
            prepare_(tiny_model("phi3", torch.float32)), sources(mixed), Routing(), name="a"
        )
    for settings in ({"top_k": 0}, {"temperature": 0.0}):
        with pytest.raises(ConfigError, match="top_k is"):
            Routing(**settings)
