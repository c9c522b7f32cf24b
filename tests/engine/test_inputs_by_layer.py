"""What a family adds in each layer by token: virtual tokens have the padding token's."""

import pytest
import torch

from tests.families import FAMILIES, TRAITS, make_exact, tiny_model
from tests.methods.test_contract import states
from tunesmith.config.methods import LoraSettings, PromptSettings, PTuningSettings
from tunesmith.core.errors import ConfigError
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row
from tunesmith.methods import table
from tunesmith.methods.adapter import Words

TEXT, IDS = [17, 4, 60], [5, 9, 44, 71]
PAD = 0
WITH_INPUTS = [family for family in FAMILIES if "inputs by layer" in TRAITS[family]]
pytestmark = pytest.mark.parametrize("family", WITH_INPUTS)


def test_virtual_tokens_have_those_of_the_padding_token(family, monkeypatch):
    make_exact(monkeypatch)
    decoder = tiny_model(family).get_decoder()
    with torch.no_grad():
        expected = decoder(
            inputs_embeds=decoder.embed_tokens(torch.tensor([[*TEXT, *IDS]])),
            per_layer_inputs=decoder.get_per_layer_inputs(torch.tensor([[PAD] * 3 + IDS])),
        ).last_hidden_state[0, 3:]
    engine = prepare_(tiny_model(family))
    table.attach(engine, PromptSettings(init_text="x"), name="a", words=Words(init_text=TEXT))
    rows = [Row(IDS, [0.0, 1, 1, 1], adapter=each) for each in ("a", "a", None)]
    hidden, _ = states(engine, rows)
    torch.testing.assert_close(hidden[:8], expected.repeat(2, 1), rtol=1e-6, atol=1e-6)
    alone, _ = states(engine, rows[2:])
    torch.testing.assert_close(hidden[8:], alone, rtol=1e-6, atol=1e-6)


def test_keys_and_values_of_a_text_see_what_the_text_sees(family, monkeypatch):
    make_exact(monkeypatch)
    engine = prepare_(tiny_model(family))
    table.attach(engine, PTuningSettings(init_text="x"), name="a", words=Words(init_text=TEXT))
    behind, _ = states(engine, [Row(IDS, [0.0, 1, 1, 1], adapter="a")])
    whole, _ = states(engine, [Row(IDS, [0.0, 1, 1, 1])], text=TEXT)
    torch.testing.assert_close(behind, whole, rtol=1e-5, atol=1e-5)  # they are fp32


def test_new_tokens_beyond_the_table_are_refused(family):
    engine = prepare_(tiny_model(family, torch.float32))
    beyond = engine.layer_vocabulary
    with pytest.raises(ConfigError, match=f"{beyond - 1}, and the new tokens reach {beyond}"):
        table.attach(engine, LoraSettings(rank=2), words=Words({beyond: (5,)}))
