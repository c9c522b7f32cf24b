"""IA3: its plain forward, PEFT's format both ways, merging, and what is refused."""

import json

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.families import four_bit_model, tiny_model
from tunesmith.adapters import merge, sources, store
from tunesmith.config.methods import IA3Settings
from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.engine.batch import within
from tunesmith.engine.forward import prepare_
from tunesmith.engine.pack import Row, pack
from tunesmith.methods import ia3, table

# phi3 has keys and values in one layer, so what all families have is scaled here.
VARIANTS = {
    "ia3": IA3Settings(targets="all-linear"),
    "ia3, outputs": IA3Settings(targets=["o_proj", "*_proj"], feedforward=["o_proj"]),
}
BIASED = ("llama", "qwen2")  # their keys and values have biases, which l scales too
IDS = [5, 9, 44, 71, 3, 90, 12, 33, 8]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
EXACT = {"rtol": 1e-10, "atol": 1e-10}
SETTINGS = {
    "default": IA3Settings(),
    "outputs": IA3Settings(targets=["k_proj", "v_proj"]),
    "some layers": IA3Settings(targets=["model.layers.1.*"], feedforward=["down_proj", "o_proj"]),
    "all": IA3Settings(targets="all-linear"),
}


def base(family, dtype=torch.float32):
    """A tiny model whose biases are not zero."""
    model = tiny_model(family, dtype)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(generator=generator)
    return model


def attached(family, settings, dtype=torch.float32):
    engine = prepare_(base(family, dtype))
    adapter = table.attach(engine, settings, name="a")
    generator = torch.Generator().manual_seed(0)
    for parameter in adapter.parameters.values():
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    adapter.refresh()
    return engine, adapter


def ours(engine, name="a"):
    with torch.no_grad():
        hidden = engine.hidden_states(pack([Row(IDS, [0.0] * len(IDS), adapter=name)]))
        return engine.head.logits(hidden)


def theirs(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([IDS])).logits[0]


def saved(folder, settings=SETTINGS["default"], family="llama"):
    engine, adapter = attached(family, settings)
    store.save(folder, adapter, engine, base="tiny")
    return engine, adapter


@pytest.mark.parametrize("module", ["self_attn.k_proj", "mlp.down_proj"])
def test_the_seam_is_the_plain_forward(module):
    engine, adapter = attached("llama", SETTINGS["default"], torch.float64)
    name = f"model.layers.1.{module}"
    linear, scale = engine.linears[name], adapter.parameters[f"base_model.model.{name}.ia3_l"]
    scale.data = scale.data.double()
    x = torch.randn(4, linear.in_features, dtype=torch.float64, requires_grad=True)
    with within(pack([Row([1] * 4, [0.0] * 4, adapter="a")])):
        fast = linear(x[None])[0]
    inputs = module.endswith("down_proj")
    plain = ia3.plain_forward(x, linear.weight, linear.bias, scale, feedforward=inputs)
    torch.testing.assert_close(fast, plain, **EXACT)
    weights = torch.randn_like(plain)
    found, expected = (torch.autograd.grad((y * weights).sum(), [x, scale]) for y in (fast, plain))
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("family", BIASED)
def test_peft_gives_the_same_logits_with_our_adapter_and_we_read_it_back(
    family, settings, tmp_path
):
    engine, _ = saved(tmp_path / "a", SETTINGS[settings], family)
    mine = ours(engine)
    assert not torch.allclose(mine, ours(engine, None), atol=1e-2)
    model = peft.PeftModel.from_pretrained(base(family), tmp_path / "a")
    torch.testing.assert_close(theirs(model), mine, **CLOSE)
    again = prepare_(base(family))
    found = store.load(again, tmp_path / "a", name="b")
    torch.testing.assert_close(ours(again, "b"), mine, **CLOSE)
    assert found.parameters.keys() == engine_keys(engine)


def engine_keys(engine):
    return {f"base_model.model.{n}.ia3_l" for n, each in engine.linears.items() if each.terms}


@pytest.mark.parametrize("inputs", [["down_proj"], [], None, ".*(down|o)_proj"])
@pytest.mark.parametrize("family", BIASED)
def test_we_give_the_same_logits_with_an_adapter_that_peft_made(family, inputs, tmp_path):
    config = peft.IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj", "o_proj"] if inputs is not None else None,
        feedforward_modules=inputs,
        init_ia3_weights=False,
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(base(family), config)
    expected = theirs(model)
    model.save_pretrained(tmp_path)
    engine = prepare_(base(family))
    store.load(engine, tmp_path, name="b")
    torch.testing.assert_close(ours(engine, "b"), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", BIASED)
def test_merged_weights_and_biases_give_what_is_attached_as_in_peft(family, tmp_path):
    engine, adapter = attached(family, SETTINGS["default"])
    mine = ours(engine)
    store.save(tmp_path / "a", adapter, engine, base="tiny")
    merged = dict(merge.changed(engine, table.merge(engine, adapter)))
    plain = base(family)
    plain.load_state_dict(merged, strict=False)
    torch.testing.assert_close(theirs(plain), mine, **CLOSE)
    model = peft.PeftModel.from_pretrained(base(family), tmp_path / "a").merge_and_unload()
    bias = "model.layers.0.self_attn.k_proj.bias"
    torch.testing.assert_close(merged[bias], model.state_dict()[bias])
    torch.testing.assert_close(theirs(model), mine, **CLOSE)


@pytest.mark.usefixtures("home")
def test_over_4_bit_it_computes_and_merges_as_over_the_dequantised_base(tmp_path):
    engine = prepare_(four_bit_model(base("llama"), tmp_path))
    adapter = table.attach(engine, SETTINGS["default"], name="a")
    assert any(linear.is_four_bit and linear.terms for linear in engine.linears.values())
    for parameter in adapter.parameters.values():
        parameter.data.add_(0.3)
    plain = base("llama")
    plain.load_state_dict(dict(merge.changed(engine, table.merge(engine, adapter))), strict=False)
    torch.testing.assert_close(theirs(plain), ours(engine), **CLOSE)


def test_a_share_of_its_strength_lies_between_the_base_and_all_of_it():
    engine, adapter = attached("llama", SETTINGS["default"])
    before = {name: p.detach().clone() for name, p in adapter.parameters.items()}
    table.scale_down_(adapter, 0.25, dict)
    for name, parameter in adapter.parameters.items():
        torch.testing.assert_close(parameter.detach(), 1 + 0.25 * (before[name] - 1))
    table.scale_down_(adapter, 0.0, dict)
    torch.testing.assert_close(ours(engine), ours(engine, None), **CLOSE)


def test_names_that_mean_more_in_peft_are_written_in_full(tmp_path):
    engine, _ = saved(tmp_path / "a", SETTINGS["some layers"])
    config = json.loads((tmp_path / "a" / store.CONFIG).read_text())
    assert all("layers.1" in name for name in config["target_modules"])
    assert set(config["feedforward_modules"]) <= set(config["target_modules"])
    config = ia3.to_peft(attached("llama", SETTINGS["default"])[1], engine)
    assert config["target_modules"] == ["down_proj", "k_proj", "v_proj"]
    assert config["feedforward_modules"] == ["down_proj"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feedforward_modules": ["k_proj"]}, r"disagree on .*down_proj.*k_proj"),
        ({"feedforward_modules": "nothing"}, r"disagree on .*down_proj"),
        ({"modules_to_save": ["lm_head"]}, r"IA3 here does not: modules_to_save = \['lm_head'\]"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out = True"),
    ],
)
def test_a_config_that_says_otherwise_is_refused(changes, message, tmp_path):
    engine, _ = saved(tmp_path / "a")
    config = json.loads((tmp_path / "a" / store.CONFIG).read_text())
    (tmp_path / "a" / store.CONFIG).write_text(json.dumps({**config, **changes}))
    with pytest.raises(AdapterError, match=message):
        store.load(engine, tmp_path / "a", name="b")


def test_tensors_of_another_shape_are_refused(tmp_path):
    engine, _ = saved(tmp_path / "a")
    file = tmp_path / "a" / store.TENSORS
    tensors = load_file(file)
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name].flatten()}, file, metadata={"format": "pt"})
    with pytest.raises(AdapterError, match=r"ia3_l of shape \[\d+\]"):
        store.load(engine, tmp_path / "a", name="b")


def test_an_adapter_of_another_base_is_refused_with_its_layers(tmp_path):
    saved(tmp_path / "a")
    with pytest.raises(AdapterError, match=r"not made for this base.*k_proj is not a linear layer"):
        store.load(prepare_(tiny_model("phi3", torch.float32)), tmp_path / "a")


def test_layers_that_a_base_lacks_and_inputs_that_are_no_targets_are_refused():
    with pytest.raises(ConfigError, match=r"IA3 targets \['k_proj', 'v_proj'\] name no linear"):
        table.attach(prepare_(tiny_model("phi3", torch.float32)), IA3Settings())
    with pytest.raises(ConfigError, match=r"IA3 feedforward \['up_proj'\] name no linear layer"):
        table.attach(prepare_(base("llama")), IA3Settings(feedforward=["up_proj"]))


def test_factors_do_not_add_up(tmp_path):
    saved(tmp_path / "a")
    with pytest.raises(AdapterError, match=r"depends on W and is not a product"):
        sources.read(tmp_path / "a")


def test_a_run_that_goes_on_asks_for_the_same_layers(tmp_path):
    engine, _ = saved(tmp_path / "a")
    found = store.settings_of(tmp_path / "a")
    assert ia3.differences(engine, IA3Settings(), found) == []
    (one,) = ia3.differences(engine, IA3Settings(targets=["v_proj", "down_proj"]), found)
    assert (one.key, one.found) == ("targets", ["down_proj", "k_proj", "v_proj"])
    assert ia3.facts(found) == {"outputs": "6: k_proj, v_proj", "inputs": "3: down_proj"}
