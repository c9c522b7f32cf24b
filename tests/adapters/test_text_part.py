"""Adapters over the language model of a whole class fit the class: in PEFT, merged, trained."""

import json
import re

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

import tunesmith as ts
from tests.adapters.test_store import assert_same_logits, ours, randomise, theirs
from tests.runs.tiny import UNMEASURED, rows_file
from tests.whole import KINDS, PROCESSOR, stored, tower_tensors, whole_folder, whole_model
from tunesmith.adapters import merge, store
from tunesmith.adapters.folder import Origin
from tunesmith.adapters.loaded_base import attach_folder, open_base, open_skeleton
from tunesmith.adapters.merge import Target
from tunesmith.config.methods import IA3Settings, LoraSettings
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.models.text_part import remove_towers_, towers_of

pytestmark = [pytest.mark.usefixtures("home"), pytest.mark.parametrize("kind", KINDS)]
ORIGIN = Origin("tiny", "0123", "lora")
LINEARS = ("attn.q_proj.linear", "attn.k_proj", "attention.k_proj", "attn.qkv")  # of the towers
METHODS = {
    "lora": LoraSettings(rank=3, alpha=7),
    "some layers": LoraSettings(rank=2, targets=["q_proj", "o_proj"]),
    "ia3": IA3Settings(),
}


def engine_of(kind):
    model = whole_model(kind, torch.float32)
    remove_towers_(model)
    return prepare_(model)


def whole(folder):
    """By transformers, without a gap or a rest."""
    model, report = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    return model.eval()


def assert_same_towers(folder, base):
    towers, before = tower_tensors(folder), tower_tensors(base)
    assert towers.keys() == before.keys()
    assert towers
    for name, tensor in before.items():
        assert torch.equal(towers[name], tensor), name
        assert towers[name].dtype == tensor.dtype, name
    assert stored(folder).keys() == stored(base).keys()
    assert (folder / PROCESSOR).read_text() == (base / PROCESSOR).read_text()


@pytest.mark.parametrize("method", METHODS)
def test_peft_over_the_whole_class_gives_the_same_logits_and_we_read_it_back(
    kind, method, tmp_path
):
    engine = engine_of(kind)
    adapter = table.attach(engine, METHODS[method], name="a")
    randomise(adapter)
    mine = ours(engine, "a")
    store.save(tmp_path / "adapter", adapter, engine, base="tiny")
    model = peft.PeftModel.from_pretrained(whole_model(kind, torch.float32), tmp_path / "adapter")
    assert_same_logits(mine, theirs(model))
    changed = [n for n, _ in model.named_modules() if n.endswith((".lora_A", ".ia3_l"))]
    assert len(changed) == len(adapter.parameters) // (1 if method == "ia3" else 2)
    again = engine_of(kind)
    store.load(again, tmp_path / "adapter", name="b")
    torch.testing.assert_close(ours(again, "b"), mine, rtol=1e-6, atol=1e-6)


def test_we_give_the_same_logits_with_an_adapter_that_peft_made_over_the_whole_class(
    kind, tmp_path
):
    engine = engine_of(kind)
    part = next(n for n, m in engine.model.named_modules() if m is engine.model.get_decoder())
    text = rf"{re.escape(part)}\..*\.(q_proj|o_proj|down_proj)"
    config = peft.LoraConfig(
        r=4, target_modules=text, init_lora_weights=False, task_type="CAUSAL_LM"
    )
    model = peft.get_peft_model(whole_model(kind, torch.float32), config)
    expected = theirs(model)
    model.save_pretrained(tmp_path)
    store.load(engine, tmp_path, name="b")
    assert_same_logits(ours(engine, "b"), expected)


def test_so_is_one_that_was_made_over_the_language_model_alone(kind, tmp_path):
    if kind != "qwen3_5":
        pytest.skip("transformers opens the whole class there")
    base = whole_folder(tmp_path / "base", kind)
    alone = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=r"model\.layers\..*\.(q_proj|down_proj)",
        rank_pattern={r"^model\.layers\.1\..*q_proj": 2},
        alpha_pattern={"model.layers.0.mlp.down_proj": 11},
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    model = peft.get_peft_model(alone, config)
    expected = theirs(model)
    model.save_pretrained(tmp_path / "adapter")
    loaded = open_base(str(base), dtype="float32", device="cpu")
    attach_folder(loaded, tmp_path / "adapter", name="b", force=True)
    assert_same_logits(ours(loaded.engine, "b"), expected)
    found = ts.verify(tmp_path / "adapter", model=str(base), force=True, progress=False)
    assert found.is_good
    for to in ("merged", "peft"):
        made = ts.export(
            tmp_path / "adapter",
            to=to,
            out=tmp_path / to,
            model=str(base),
            force=True,
            prompts=1,
            progress=False,
        )
        assert made.found.comparison.largest_difference < 1e-3
    assert_same_logits(theirs(whole(tmp_path / "merged")), expected)
    over = peft.PeftModel.from_pretrained(whole(base), tmp_path / "peft")
    assert_same_logits(theirs(over), expected)
    on = ts.train(
        str(rows_file(tmp_path / "rows.jsonl")),
        model=str(base),
        method={"kind": "lora", "init": str(tmp_path / "adapter")},
        settings={"train.steps": 1, "train.lr": 1e-12, "train.retention": "none", "data.eval": 0.0},
        checks=[],
        out=tmp_path / "run",
        progress=False,
    )
    store.load(loaded.engine, on.adapter, name="on")
    assert_same_logits(ours(loaded.engine, "on"), expected)


def test_an_adapter_of_a_tower_is_refused_by_name(kind, tmp_path):
    engine = engine_of(kind)
    names = [n for n in towers_of(engine.model).parts if n.endswith(LINEARS)]
    config = peft.LoraConfig(r=4, target_modules=names[:1], init_lora_weights=False)
    peft.get_peft_model(whole_model(kind, torch.float32), config).save_pretrained(tmp_path)
    with pytest.raises(AdapterError, match="reads images or sound, which is not loaded"):
        store.load(engine, tmp_path, name="b")


@pytest.mark.parametrize("from_files", [False, True])
def test_merged_opens_as_the_whole_class_with_the_same_towers(kind, from_files, tmp_path):
    base = whole_folder(tmp_path / "base", kind)
    engine = open_base(str(base), dtype="float32", device="cpu").engine
    adapter = table.attach(engine, METHODS["lora"], name="a")
    randomise(adapter)
    target = Target(tmp_path / "merged", source=base, origin=ORIGIN, dtype=torch.float32)
    if from_files:
        store.save(tmp_path / "adapter", adapter, engine, base="tiny")
        merge.save_stored(open_skeleton(str(base))[1], tmp_path / "adapter", target)
    else:
        merge.save(engine, adapter, target)
    assert_same_towers(target.folder, base)
    assert_same_logits(theirs(whole(target.folder)), ours(engine, "a"))
    assert not torch.allclose(theirs(whole(base)), ours(engine, "a"), atol=1e-2)


def test_it_is_written_in_the_format_that_only_the_text_part_of_the_config_names(kind, tmp_path):
    base = whole_folder(tmp_path / "base", kind)
    whole(base).to(torch.bfloat16).save_pretrained(base)
    config = json.loads((base / "config.json").read_text())
    for part in (config, *(value for key, value in config.items() if key.endswith("_config"))):
        part.pop("dtype", None)
    text = config["text_config"]
    for named in ({"dtype": "float16"}, {}):  # without, it is that of the files
        (base / "config.json").write_text(json.dumps({**config, "text_config": {**text, **named}}))
        expected = torch.float16 if named else torch.bfloat16
        assert open_skeleton(str(base))[1].compute_dtype == expected


def test_a_folder_with_the_models_own_names_keeps_them(kind, tmp_path):
    base = whole_folder(tmp_path / "base", kind)
    model = whole(base)
    save_file(
        {n: t for n, t in model.state_dict().items() if n != "lm_head.weight" or not tied(model)},
        base / "model.safetensors",
        metadata={"format": "pt"},
    )
    engine = open_base(str(base), dtype="float32", device="cpu").engine
    adapter = table.attach(engine, METHODS["lora"], name="a")
    randomise(adapter)
    target = Target(tmp_path / "merged", source=base, origin=ORIGIN, dtype=torch.float32)
    merge.save(engine, adapter, target)
    assert stored(target.folder).keys() == stored(base).keys()
    assert_same_logits(theirs(whole(target.folder)), ours(engine, "a"))


def tied(model):
    return model.lm_head.weight is model.get_input_embeddings().weight


@pytest.mark.parametrize(
    "method", [ts.Full(), pytest.param(ts.LoRA(rank=2), marks=pytest.mark.slow)]
)
def test_trained_on_rows_of_text_and_opened_as_the_whole_class(kind, method, tmp_path):
    base = whole_folder(tmp_path / "base", kind)
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    run = ts.train(
        rows_file(tmp_path / "rows.jsonl"),
        model=base,
        method=method,
        dtype="float32",
        lr=0.01,
        steps=3,
        eval=0.25,
        checks=[],
        out=tmp_path / "run",
        settings={"train.rows_per_step": 3, "evaluate": UNMEASURED},
        progress=False,
    )
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before
    is_whole = method.kind == "full"
    if is_whole:
        folder = run.adapter
    else:
        names = load_file(run.adapter / "adapter_model.safetensors")
        own = set(dict(whole(base).named_modules()))
        modules = {n.removeprefix("base_model.model.").rpartition(".lora_")[0] for n in names}
        assert modules <= own
        folder = tmp_path / "merged"
        ts.export(run, to="merged", out=folder, dtype="float32", progress=False)
    assert_same_towers(folder, base)
    found = theirs(whole(folder))
    assert_same_logits(found, ours(open_base(str(folder), dtype="float32").engine, None))
    if not is_whole:
        loaded = open_base(str(base), dtype="float32", device="cpu")
        attach_folder(loaded, run.adapter, name="a", force=True)
        # merged weights are rounded once more, which recurrent states multiply
        close = {"rtol": 0, "atol": 1e-4 * float(found.abs().max())}
        torch.testing.assert_close(ours(loaded.engine, "a"), found, **close)
    assert not torch.allclose(found, theirs(whole(base)), atol=1e-3)
    assert "AutoModelForImageTextToText" in (run.adapter / "README.md").read_text()
    assert json.loads((folder / "config.json").read_text())["model_type"] == kind
