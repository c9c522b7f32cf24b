"""Terms on experts: what is named, what is refused, and what a run reports of the rest."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.families import four_bit_model, tiny_model
from tunesmith.adapters import sources, store
from tunesmith.config.methods import IA3Settings, LoraSettings
from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.methods.lora_parameters import wrappers
from tunesmith.runs.result import notes_on_experts

EXPERTS = ("experts.gate_up_proj", "experts.down_proj")


def engine_of(family="qwen3_moe"):
    return prepare_(tiny_model(family, torch.float32))


def attached(engine, **settings):
    return table.attach(engine, LoraSettings(rank=2, **settings), name="a")


def test_all_linear_layers_are_none_of_the_experts_or_routers():
    adapter = attached(engine_of())
    assert not [name for name in adapter.parameters if "experts" in name or "gate" in name]


@pytest.mark.parametrize("targets", ["down_proj", "*.experts.*", "w1"])
def test_experts_that_are_named_as_layers_are_refused_with_the_key_for_them(targets):
    with pytest.raises(ConfigError, match=r"no linear layer.*mlp\.experts\.down_proj") as error:
        attached(engine_of(), targets=targets)
    assert "method.target_parameters" in error.value.remedy


def test_a_pattern_that_names_no_parameter_is_refused_with_what_there_is():
    with pytest.raises(ConfigError, match=r"\['w1'\] name no parameter.*experts\.gate_up_proj"):
        attached(engine_of(), target_parameters=["down_proj", "w1"])
    with pytest.raises(ConfigError, match="this model has no experts") as error:
        attached(engine_of("llama"), target_parameters=["down_proj"])
    assert "method.targets" in error.value.remedy


def test_nothing_at_all_is_refused():
    with pytest.raises(ConfigError, match="both empty"):
        attached(engine_of(), targets=[])


@pytest.mark.parametrize("odd", [{"dropout": 0.1}, {"dora": True}, {"init": "pissa"}])
def test_what_peft_cannot_do_beside_experts_is_refused_in_the_settings(odd):
    with pytest.raises(ConfigError, match=f"{next(iter(odd))} and target_parameters do not go"):
        LoraSettings(target_parameters=EXPERTS, **odd)


def test_a_rank_above_an_experts_smaller_side_is_refused():
    settings = LoraSettings(rank=25, targets=["q_proj"], target_parameters=EXPERTS)
    with pytest.raises(ConfigError, match=r"smaller side of 24"):
        table.of(settings).check(engine_of(), settings)


def test_ia3_names_the_layers_that_it_can_scale():
    with pytest.raises(ConfigError, match=r"\['down_proj'\] name no linear layer.*k_proj"):
        table.attach(engine_of(), IA3Settings(), name="a")


@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe", "olmoe", "granitemoe", "gpt_oss"])
def test_the_order_of_wrappers_is_that_of_the_parameters(family):
    """PEFT goes through a module's parameters in their order; a file shows only the depth."""
    engine = engine_of(family)
    for module in {seam.module for seam in engine.experts.values()}:
        own = [name for name, seam in engine.experts.items() if seam.module is module]
        found = wrappers(own)
        assert sorted(own, key=lambda name: -found[name].count("base_layer")) == own
        order = [name for name, _ in module.named_parameters()]
        assert [name.rpartition(".")[2] for name in own] == [n for n in order if "bias" not in n]


@pytest.fixture
def folder(tmp_path):
    engine = engine_of()
    store.save(tmp_path, attached(engine, target_parameters=EXPERTS), engine, base="tiny")
    (tmp_path / "tunesmith.json").unlink(missing_ok=True)
    return tmp_path


def changed(folder, **keys):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))
    return folder


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"target_parameters": ["experts.down_proj"]}, "1 of .*experts, which has tensors of 2"),
        ({"target_parameters": None}, "0 of .*experts, which has tensors of 2"),
        ({"rank_pattern": {"gate_up_proj": 3}}, "gate_up_proj the rank 3, its tensors"),
    ],
)
def test_a_config_that_contradicts_the_tensors_is_refused(folder, keys, message):
    with pytest.raises(AdapterError, match=message):
        store.load(engine_of(), changed(folder, **keys))


def test_experts_of_another_width_are_misfits(folder):
    tensors = load_file(folder / store.TENSORS)
    key = next(k for k in tensors if "base_layer.lora_A" in k)
    tensors[key] = tensors[key][:, :-1].contiguous()
    save_file(tensors, folder / store.TENSORS)
    with pytest.raises(AdapterError, match=r"lora_A has shape \[8, 31\].*32 or 24, of 4 experts"):
        store.load(engine_of(), folder)
    with pytest.raises(AdapterError, match="experts is not a linear layer of it"):
        store.load(engine_of("llama"), folder)


def test_terms_on_experts_are_not_combined(folder):
    with pytest.raises(AdapterError, match=r"experts or routers \(target_parameters\)"):
        sources.read(folder)


def notes(engine, adapter):
    return list(notes_on_experts(engine, adapter))


def test_a_run_reports_the_share_of_experts_that_it_leaves_out(tmp_path):
    engine = engine_of()
    total = sum(p.numel() for p in engine.model.parameters())
    share = round(100 * sum(s.weight.numel() for s in engine.experts.values()) / total)
    (note,) = notes(engine, attached(engine))
    assert note.startswith(f"experts are not among the targets: {share} % of the parameters")
    assert "'[experts.gate_up_proj, experts.down_proj]'" in note
    engine = engine_of()
    (note,) = notes(engine, attached(engine, target_parameters=EXPERTS[:1]))
    assert note.startswith("3 stacks of experts are not among the targets")
    engine = engine_of()
    assert notes(engine, attached(engine, target_parameters=EXPERTS)) == []
    engine = prepare_(four_bit_model(tiny_model("qwen3_moe", torch.float32), tmp_path))
    quantized = LoraSettings(kind="qlora", rank=2, target_parameters=EXPERTS)
    (note,) = notes(engine, table.attach(engine, quantized, name="a"))
    assert note.startswith(
        f"experts stay in 16-bit precision, as 4-bit is for linear layers: {share} %"
    )
