"""Weights in other layouts: experts one by one and in MXFP4, read, trained over and written."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.models.tiny import edit_json, tiny_folder
from tunesmith.adapters import merge, store
from tunesmith.adapters.folder import Origin
from tunesmith.adapters.loaded_base import open_skeleton
from tunesmith.adapters.merge import Target
from tunesmith.config.methods import LoraSettings
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.models.load import load_base
from tunesmith.models.weights import read_weight, weight_shapes

SMALL = {"num_experts_per_tok": 2, "intermediate_size": 32, "num_hidden_layers": 2}
MIXED = {
    "mixtral": {**SMALL, "num_local_experts": 4},
    "qwen3_moe": {**SMALL, "num_experts": 4, "moe_intermediate_size": 32},
    "olmoe": {**SMALL, "num_experts": 4},
    "granitemoe": {**SMALL, "num_local_experts": 4},
    "gpt_oss": {
        **SMALL,
        "num_local_experts": 4,
        "head_dim": 16,
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    },
}


@pytest.mark.parametrize("family", MIXED)
def test_every_tensor_of_the_model_is_read_from_its_files(family, tmp_path):
    folder = tiny_folder(tmp_path, family, **MIXED[family])
    model = AutoModelForCausalLM.from_pretrained(folder)
    for name, tensor in model.state_dict().items():
        assert torch.equal(read_weight(folder, name), tensor), name


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("family", MIXED)
def test_a_merged_folder_has_its_familys_names_and_loads(family, tmp_path):
    source = tiny_folder(tmp_path / "base", family, **MIXED[family])
    base = load_base(str(source), dtype="float32", device="cpu")
    engine = prepare_(base.model)
    settings = LoraSettings(rank=2, target_parameters=["gate_up_proj", "down_proj"])
    adapter = table.attach(engine, settings, name="a")
    for parameter in adapter.parameters.values():
        parameter.data.normal_(0, 0.1)
    adapter.refresh()
    origin = Origin("tiny", "0123", "lora")
    done = merge.save(engine, adapter, Target(tmp_path / "out", source=source, origin=origin))
    assert weight_shapes(done.folder) == weight_shapes(source)
    store.save(tmp_path / "adapter", adapter, engine, base="tiny")
    _, skeleton = open_skeleton(str(source))
    stored = merge.save_stored(
        skeleton, tmp_path / "adapter", Target(tmp_path / "again", source=source, origin=origin)
    )
    whole, parts = (load_file(each.folder / "model.safetensors") for each in (done, stored))
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor)
    plain = AutoModelForCausalLM.from_pretrained(done.folder)
    for name, stack in engine.experts.items():
        expected = stack.merged(stack.terms["a"], stack.weight)
        torch.testing.assert_close(plain.state_dict()[name], expected)


def mxfp4_folder(path):
    """A tiny gpt-oss as it is published: experts in MXFP4, the rest in bfloat16."""
    folder = tiny_folder(path, "gpt_oss", **MIXED["gpt_oss"])
    tensors = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
        experts, width, height = tensors.pop(name).shape
        shape = (experts, height, width // 32)
        blocks = torch.randint(0, 256, (*shape, 16), dtype=torch.uint8, generator=generator)
        scales = torch.randint(120, 126, shape, dtype=torch.uint8, generator=generator)
        tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", quantization_config={"quant_method": "mxfp4"})
    return folder


def test_mxfp4_is_dequantized_by_its_definition(tmp_path):
    folder = mxfp4_folder(tmp_path)
    stored = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.experts.down_proj"
    blocks, scales = stored[f"{name}_blocks"], stored[f"{name}_scales"]
    numbers = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])  # e2m1, then the same with a sign
    both = torch.cat([numbers, -numbers])
    pairs = torch.stack([both[(blocks & 15).int()], both[(blocks >> 4).int()]], -1)
    expected = pairs.flatten(-2) * 2.0 ** (scales.float() - 127)[..., None]
    weight = read_weight(folder, name)
    assert weight.dtype == torch.bfloat16
    assert torch.equal(weight.float(), expected.flatten(-2).transpose(1, 2))
    base = load_base(str(folder), dtype="float32", device="cpu")
    assert "the base's experts are dequantized from MXFP4" in base.notes
    for each, tensor in base.model.state_dict().items():
        assert torch.equal(read_weight(folder, each).float(), tensor), each


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("four_bit", [False, True])
def test_a_model_merged_over_mxfp4_is_a_plain_one(four_bit, tmp_path):
    source = mxfp4_folder(tmp_path / "base")
    base = load_base(str(source), dtype="float32", device="cpu", four_bit=four_bit)
    engine = prepare_(base.model)
    kind = "qlora" if four_bit else "lora"
    settings = LoraSettings(kind=kind, rank=2, target_parameters=["experts.down_proj"])
    adapter = table.attach(engine, settings, name="a")
    for parameter in adapter.parameters.values():
        parameter.data.normal_(0, 0.1)
    adapter.refresh()
    target = Target(tmp_path / "out", source=source, origin=Origin("tiny", "0123", kind))
    done = merge.save(engine, adapter, target)
    assert "quantization_config" not in json.loads((done.folder / "config.json").read_text())
    plain = AutoModelForCausalLM.from_pretrained(done.folder).state_dict()
    stack = engine.experts["model.layers.1.mlp.experts.down_proj"]
    torch.testing.assert_close(plain[stack.name], stack.merged(stack.terms["a"], stack.weight))
