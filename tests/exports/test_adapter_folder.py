"""Adapters for other programs compute what they did here, by those programs' own rules."""

import json

import peft
import pytest
import torch
from safetensors.torch import load_file

from tests.adapters.test_store import VARIANTS, assert_same_logits, ours, randomise, theirs
from tests.families import tiny_model
from tunesmith.adapters import folder as config_file
from tunesmith.adapters import store
from tunesmith.config.methods import IA3Settings, LoraSettings, PromptSettings
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import prepare_
from tunesmith.exports.adapter_folder import MERGE_INSTEAD, VLLM_RANKS, write_peft, write_vllm
from tunesmith.methods import table

ALL = {name: each for name, each in VARIANTS.items() if not each.target_parameters}
PLAIN = {name: each for name, each in ALL.items() if not each.dora}
DORA = {name: each for name, each in ALL.items() if each.dora}


def made(settings, into):
    """The logits with a random adapter of these settings, which lies in the folder then."""
    engine = prepare_(tiny_model("llama", torch.float32))
    adapter = table.attach(engine, settings, name="a")
    randomise(adapter)
    store.save(into, adapter, engine, base="tiny")
    return ours(engine, "a") if isinstance(settings, LoraSettings) else None


def as_vllm_does(folder):
    """W + alpha / rank B A, with one alpha and rank of the config, whatever else it says."""
    config = json.loads((folder / config_file.CONFIG).read_text())
    tensors = load_file(folder / config_file.TENSORS)
    model = tiny_model("llama", torch.float32)
    for key, a in tensors.items():
        if "lora_A" in key:
            name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            b = tensors[key.replace("lora_A", "lora_B")]
            assert a.shape[0] == b.shape[1] == config["r"]
            weight = model.get_submodule(name).weight
            weight.data += config["lora_alpha"] / config["r"] * (b.float() @ a.float())
    return config, model


@pytest.mark.parametrize("variant", PLAIN)
def test_folded_for_vllm_it_computes_the_same(variant, tmp_path):
    expected = made(PLAIN[variant], tmp_path / "a")
    rank = write_vllm(tmp_path / "a", tmp_path / "out")
    config, model = as_vllm_does(tmp_path / "out")
    assert_same_logits(expected, theirs(model))
    assert rank == config["r"]
    assert rank in VLLM_RANKS
    # what vLLM's PEFTHelper refuses, or SGLang leaves out
    assert not any(config[key] for key in ("use_rslora", "use_dora", "modules_to_save"))
    assert not config["rank_pattern"]
    assert not config["alpha_pattern"]
    assert isinstance(config["lora_alpha"], int)
    again = peft.PeftModel.from_pretrained(tiny_model("llama", torch.float32), tmp_path / "out")
    assert_same_logits(expected, theirs(again))


def test_b_stays_as_it_is_where_the_scale_can_be_said_in_whole_numbers(tmp_path):
    made(LoraSettings(rank=4, alpha=8), tmp_path / "a")
    assert write_vllm(tmp_path / "a", tmp_path / "out") == 8
    before, after = (load_file(tmp_path / n / config_file.TENSORS) for n in ("a", "out"))
    for key, tensor in before.items():
        kept = after[key][:, :4] if "lora_B" in key else after[key][:4]
        rest = after[key][:, 4:] if "lora_B" in key else after[key][4:]
        assert torch.equal(kept, tensor)
        assert not rest.any()


def test_terms_on_experts_are_refused_for_vllm_by_their_key(tmp_path):
    engine = prepare_(tiny_model("gpt_oss", torch.float32))
    adapter = table.attach(engine, VARIANTS["experts"], name="a")
    store.save(tmp_path / "a", adapter, engine, base="tiny")
    with pytest.raises(AdapterError, match=r"terms on experts or routers \(target_parameters\)"):
        write_vllm(tmp_path / "a", tmp_path / "b")
    write_peft(tmp_path / "a", tmp_path / "b")
    again = store.load(prepare_(tiny_model("gpt_oss", torch.float32)), tmp_path / "b", name="b")
    assert again.size == adapter.size


@pytest.mark.parametrize("variant", DORA)
def test_dora_is_refused_for_vllm_with_the_way_out(variant, tmp_path):
    made(DORA[variant], tmp_path / "a")
    with pytest.raises(AdapterError, match="DoRA's magnitudes") as refused:
        write_vllm(tmp_path / "a", tmp_path / "out")
    assert "--merged" in refused.value.remedy
    assert not (tmp_path / "out").exists()


def test_ranks_above_and_methods_beside_lora_are_refused(tmp_path):
    made(LoraSettings(rank=513, targets=["q_proj"]), tmp_path / "a")
    with pytest.raises(AdapterError, match="rank 513 is above the largest that vLLM takes, 512"):
        write_vllm(tmp_path / "a", tmp_path / "out")
    made(PromptSettings(tokens=3, init="random"), tmp_path / "p")
    with pytest.raises(AdapterError, match="support LoRA only, not method prompt") as refused:
        write_vllm(tmp_path / "p", tmp_path / "out")
    assert refused.value.remedy.startswith("Serve it with tunesmith")
    made(IA3Settings(), tmp_path / "i")
    with pytest.raises(AdapterError, match="support LoRA only, not method ia3") as refused:
        write_vllm(tmp_path / "i", tmp_path / "out")
    assert refused.value.remedy == MERGE_INSTEAD


@pytest.mark.parametrize("variant", ALL)
def test_the_folder_for_peft_computes_the_same_and_keeps_what_lies_beside(variant, tmp_path):
    expected = made(VARIANTS[variant], tmp_path / "a")
    (tmp_path / "a" / "tokenizer.json").write_text("{}")
    (tmp_path / "a" / "adapter_model.bin").write_bytes(b"pickle")
    (tmp_path / "a" / store.CARD).write_text("a card")
    write_peft(tmp_path / "a", tmp_path / "out")
    again = peft.PeftModel.from_pretrained(tiny_model("llama", torch.float32), tmp_path / "out")
    assert_same_logits(expected, theirs(again))
    kept = {path.name for path in (tmp_path / "out").iterdir()}
    assert kept == {config_file.CONFIG, config_file.TENSORS, store.CARD, "tokenizer.json"}
    assert (tmp_path / "out" / store.CARD).read_text() == "a card"


@pytest.mark.parametrize("write", [write_peft, write_vllm])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tensors_are_in_the_format_asked_for(write, dtype, tmp_path):
    made(LoraSettings(rank=3, alpha=7), tmp_path / "a")
    write(tmp_path / "a", tmp_path / "out", dtype=dtype)
    tensors = load_file(tmp_path / "out" / config_file.TENSORS)
    assert {tensor.dtype for tensor in tensors.values()} == {dtype}
