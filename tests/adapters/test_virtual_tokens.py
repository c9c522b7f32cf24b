"""Soft prompts and prefixes in PEFT's format, both ways, grouped key/value heads included."""

import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.adapters.test_store import assert_same_logits
from tests.covering import pairs
from tests.families import FAMILIES, KEYED, tiny_model
from tunesmith.adapters import store
from tunesmith.config.methods import PromptSettings, PTuningSettings
from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import table
from tunesmith.methods.adapter import Words

IDS = [5, 9, 44, 71, 3, 90, 12, 33, 8]
SETTINGS = {
    "prompt": PromptSettings(tokens=7, init="random"),
    "p-tuning": PTuningSettings(tokens=7, init="random"),
    "projection": PTuningSettings(tokens=7, init="random", projection=5),
}
# What PEFT can make that we read, by the kind that it is here.
PEFTS = {
    "prompt": [
        (peft.PromptTuningConfig, {}),
        (peft.PromptEncoderConfig, {"encoder_hidden_size": 6}),
        (
            peft.PromptEncoderConfig,
            {"encoder_hidden_size": 6, "encoder_reparameterization_type": "LSTM"},
        ),
    ],
    "p-tuning": [
        (peft.PrefixTuningConfig, {}),
        (peft.PrefixTuningConfig, {"prefix_projection": True, "encoder_hidden_size": 6}),
    ],
}


def ours(engine, adapter):
    batch = pack([Row(IDS, [0.0] * len(IDS), adapter=adapter)], prefixes=engine.prefixes)
    with torch.no_grad():
        return engine.head.logits(engine.hidden_states(batch))[-len(IDS) :]


def theirs(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([IDS])).logits[0][-len(IDS) :]


def made(family, kind):
    """An engine with a new adapter; a projection's is moved, as it starts without effect."""
    engine = prepare_(tiny_model(family, torch.float32))
    adapter = table.attach(engine, SETTINGS[kind], name="a", seed=3)
    if kind == "projection":
        generator = torch.Generator().manual_seed(4)
        for parameter in adapter.trained.values():
            parameter.data.normal_(generator=generator)
        adapter.refresh()
    return engine, adapter


@pytest.mark.parametrize(("family", "kind"), pairs(FAMILIES, SETTINGS))
def test_what_is_saved_is_read_back(family, kind, tmp_path):
    engine, adapter = made(family, kind)
    mine = ours(engine, "a")
    store.save(tmp_path / "adapter", adapter, engine, base="tiny")
    again = prepare_(tiny_model(family, torch.float32))
    plain = ours(again, None)
    store.load(again, tmp_path / "adapter", name="b")
    assert torch.equal(ours(again, "b"), mine)
    assert not torch.allclose(mine, plain, atol=1e-2)


@pytest.mark.parametrize(("family", "kind"), pairs(FAMILIES, SETTINGS))
def test_peft_gives_the_same_logits(family, kind, tmp_path):
    engine, adapter = made(family, kind)
    store.save(tmp_path / "adapter", adapter, engine, base="tiny")
    model = peft.PeftModel.from_pretrained(tiny_model(family, torch.float32), tmp_path / "adapter")
    assert_same_logits(ours(engine, "a"), theirs(model))


@pytest.mark.parametrize(
    ("family", "kind", "config", "options"),
    [
        (family, kind, *each)
        for kind in PEFTS
        for each in PEFTS[kind]
        for family in (KEYED if kind == "p-tuning" else FAMILIES)
    ],
)
def test_what_peft_made_gives_the_same_logits_here_and_saved_again_there(
    family, kind, config, options, tmp_path
):
    torch.manual_seed(1)
    settings = config(num_virtual_tokens=5, task_type="CAUSAL_LM", **options)
    model = peft.get_peft_model(tiny_model(family, torch.float32), settings).eval()
    expected = theirs(model)
    model.save_pretrained(tmp_path / "theirs")
    engine = prepare_(tiny_model(family, torch.float32))
    adapter = store.load(engine, tmp_path / "theirs", name="b")
    assert adapter.settings.kind == kind
    assert not torch.allclose(ours(engine, None), expected, atol=1e-3)
    assert_same_logits(ours(engine, "b"), expected)
    store.save(tmp_path / "ours", adapter, engine, base="tiny")
    again = peft.PeftModel.from_pretrained(tiny_model(family, torch.float32), tmp_path / "ours")
    assert_same_logits(theirs(again), expected)


def test_a_prefix_for_every_layer_does_not_fit_a_base_with_a_recurrent_state(tmp_path):
    torch.manual_seed(1)
    settings = peft.PrefixTuningConfig(num_virtual_tokens=5, task_type="CAUSAL_LM")
    family = "granitemoehybrid"
    peft.get_peft_model(tiny_model(family, torch.float32), settings).save_pretrained(tmp_path)
    with pytest.raises(AdapterError, match="a recurrent state instead in 2 of 3 layers"):
        store.load(prepare_(tiny_model(family, torch.float32)), tmp_path)


def test_a_projection_is_folded_into_one_tensor(tmp_path):
    engine, adapter = made("llama", "projection")
    store.save(tmp_path / "adapter", adapter, engine, base="tiny")
    assert load_file(tmp_path / "adapter" / store.TENSORS).keys() == {"prompt_embeddings"}
    written = json.loads((tmp_path / "adapter" / store.CONFIG).read_text())
    assert written["prefix_projection"] is False
    assert len(store.load(engine, tmp_path / "adapter", name="b").parameters) == 2 * 3


@pytest.mark.parametrize("kind", SETTINGS)
def test_what_does_not_fit_the_base_is_refused(kind, tmp_path):
    engine, adapter = made("llama", kind)
    folder = tmp_path / "adapter"
    store.save(folder, adapter, engine, base="tiny")
    (name, tensor), *_ = load_file(folder / store.TENSORS).items()
    for wrong, message in (
        ({name: torch.zeros(7, 5)}, "was not made for this base"),
        ({name: tensor[:3].contiguous()}, "says num_virtual_tokens = 7"),
        ({"x": tensor}, "is one tensor `prompt_embeddings`"),
        ({name: tensor, "x": tensor + 1}, "is one tensor `prompt_embeddings`"),
    ):
        save_file(wrong, folder / store.TENSORS)
        with pytest.raises(AdapterError, match=message):
            store.load(engine, folder)
    assert set(engine.prefixes) == {"a"}
    assert json.loads((folder / store.CONFIG).read_text())["num_virtual_tokens"] == 7


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_start_text_longer_than_p_is_refused_and_a_shorter_one_goes_round(kind):
    settings = type(SETTINGS[kind])
    engine = prepare_(tiny_model("llama", torch.float32))
    with pytest.raises(ConfigError, match=r"has 4 tokens, method\.tokens is 3"):
        table.attach(engine, settings(tokens=3, init_text="x"), words=Words(init_text=[4, 5, 6, 7]))
    table.attach(engine, settings(tokens=5, init_text="x"), words=Words(init_text=[4, 5]))
    assert engine.prefix_length("default") == 5


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("count", [127, 128, 10**12])
def test_virtual_tokens_that_fill_the_context_are_refused_before_they_are_made(kind, count):
    engine = prepare_(tiny_model("llama", torch.float32))
    with pytest.raises(ConfigError, match=r"no room after .* in the model's context of 128"):
        table.attach(engine, SETTINGS[kind].model_copy(update={"tokens": count}))
    assert not engine.prefixes
