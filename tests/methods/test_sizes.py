"""What is counted of a method without a base is what it trains over one."""

import pytest
from safetensors.torch import load_file

from tests.engine.test_config_shape import saved
from tests.families import FAMILIES, KEYED, tiny_model
from tunesmith.adapters import store
from tunesmith.config.methods import (
    FullSettings,
    IA3Settings,
    LoraSettings,
    PromptSettings,
    PTuningSettings,
)
from tunesmith.core.errors import ConfigError
from tunesmith.engine.config_shape import shape_of
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.methods.sizes import trained_size

SETTINGS = {
    "lora": LoraSettings(rank=3),
    "dora": LoraSettings(rank=2, dora=True, rank_pattern={"o_proj": 5}),
    "lora-fa": LoraSettings(freeze_a=True, targets=("q_proj", "k_proj")),
    "full": FullSettings(),
    "prompt": PromptSettings(tokens=7),
    "p-tuning": PTuningSettings(),
    "mlp": PTuningSettings(tokens=4, projection=6),
    "ia3": IA3Settings(),
}


def trained_by(family, settings):
    engine = prepare_(tiny_model(family))
    adapter = table.attach(engine, settings, name="a")
    return sum(p.numel() for p in adapter.trained.values())


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("family", ["llama", "gemma3_text", "phi3", "gemma4_text", "qwen3_moe"])
def test_a_method_trains_as_many_numbers_as_counted(family, name):
    settings = SETTINGS[name]
    if family == "phi3" and name in ("lora-fa", "ia3"):
        settings = settings.model_copy(update={"targets": ("o_proj", "down_proj")})
    if family == "qwen3_moe" and name == "ia3":  # its feedforward layers are experts
        settings = settings.model_copy(update={"targets": ("k_proj", "v_proj")})
    shape = shape_of(saved(tiny_model(family).config))
    assert trained_size(settings, shape).trained == trained_by(family, settings)


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_is_counted_over_every_family(family):
    settings = LoraSettings(rank=2)
    shape = shape_of(saved(tiny_model(family).config))
    assert trained_size(settings, shape).trained == trained_by(family, settings)


def test_terms_on_experts_are_counted():
    settings = LoraSettings(rank=2, target_parameters=("experts.down_proj", "gate.weight"))
    shape = shape_of(saved(tiny_model("mixtral").config))
    assert trained_size(settings, shape).trained == trained_by("mixtral", settings)


def test_a_prefix_has_no_room_in_layers_with_a_state():
    family = next(each for each in FAMILIES if each not in KEYED)
    with pytest.raises(ConfigError, match="recurrent"):
        trained_size(PTuningSettings(), shape_of(saved(tiny_model(family).config)))


@pytest.mark.parametrize(
    "settings",
    [
        LoraSettings(rank=3),
        LoraSettings(rank=2, dora=True),
        LoraSettings(rank=2, freeze_a=True),
        LoraSettings(rank=2, init="pissa"),
        LoraSettings(rank=2, init="olora", freeze_a=True),
    ],
)
def test_an_adapter_stores_as_many_numbers_as_counted(settings, tmp_path):
    model = tiny_model("llama")
    engine = prepare_(model)
    adapter = table.attach(engine, settings, name="a")
    store.save(tmp_path / "a", adapter, engine, base="base")
    tensors = load_file(tmp_path / "a" / "adapter_model.safetensors")
    size = trained_size(settings, shape_of(saved(model.config)))
    assert size.stored == sum(tensor.numel() for tensor in tensors.values())
