"""What is said of a prefix in layers with a sliding window is what attention does."""

import pytest
import torch

from tests import families
from tests.families import FAMILIES, tiny_model
from tunesmith.config.methods import PromptSettings, PTuningSettings
from tunesmith.engine import attention
from tunesmith.engine.families import layer_windows
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import table
from tunesmith.methods.virtual_tokens import narrow_layers

VARIANTS = {
    "prompt": PromptSettings(init_text="a text"),
    "p-tuning": PTuningSettings(init_text="a text"),
    "p-tuning, projection": PTuningSettings(init_text="a text", projection=9),
}
IDS = list(range(10, 19))


def run(engine, adapter=None):
    batch = pack([Row(IDS, [0.0] * len(IDS), adapter=adapter)], prefixes=engine.prefixes)
    with torch.no_grad():
        return engine.hidden_states(batch)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_windows_are_those_that_attention_is_called_with(family, monkeypatch):
    engine = prepare_(tiny_model(family))
    rules = []
    attend = attention.attend

    def noted(q, k, v, stream, rule):
        rules.append(rule)
        return attend(q, k, v, stream, rule)

    monkeypatch.setattr(attention, "attend", noted)
    run(engine)
    keyed = [layer for layer in range(3) if layer not in engine.states]
    assert [rule.layer for rule in rules] == keyed
    windows = layer_windows(engine.model.config)
    assert [rule.window for rule in rules] == [windows[layer] for layer in keyed]


def test_a_window_in_the_config_of_a_family_without_windows_says_nothing():
    engine = prepare_(tiny_model("llama"))
    engine.model.config.sliding_window = 4
    assert layer_windows(engine.model.config) == [None, None, None]


@pytest.mark.parametrize("count", [1, 3, 6])
def test_the_prefix_is_lost_from_the_tokens_on_that_are_named(count, monkeypatch):
    monkeypatch.setitem(families.SHAPE, "num_hidden_layers", 1)
    monkeypatch.setitem(FAMILIES["mistral"], "sliding_window", 4)
    engine = prepare_(tiny_model("mistral"))
    adapter = table.attach(engine, PTuningSettings(tokens=count), name="a")
    (narrow,) = narrow_layers(engine, "a")
    assert (narrow.layers, narrow.of, narrow.window, narrow.prefix) == (1, 1, 4, count)

    def tokens_that_see(positions):
        before = run(engine, "a")
        for parameter in adapter.parameters.values():
            parameter.data[:, positions] += 1.0
        adapter.refresh()
        changed = (run(engine, "a") - before).abs().amax(1) > 1e-9
        return changed.nonzero().flatten().tolist()

    assert tokens_that_see([0]) == list(range(narrow.length))
    assert tokens_that_see(range(count)) == list(range(narrow.window - 1))


def test_nothing_is_said_without_a_prefix_or_without_windows():
    engine = prepare_(tiny_model("gemma2"))
    assert narrow_layers(engine, "a") == []
    llama = prepare_(tiny_model("llama", torch.float32))
    table.attach(llama, PTuningSettings(tokens=2), name="a")
    assert narrow_layers(llama, "a") == []


def test_the_sentence_names_layers_window_and_lengths():
    engine = prepare_(tiny_model("gemma3_text"))
    table.attach(engine, PTuningSettings(tokens=3), name="a")
    (narrow,) = narrow_layers(engine, "a")
    assert str(narrow) == (
        "2 of 3 layers see only the last 4 tokens: in documents of more than 1 token they lose "
        "the 3 virtual tokens one by one, and from token 4 on they see none of them"
    )
