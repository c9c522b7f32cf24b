"""A transformers model in memory: trained over, evaluated, loaded; afterwards as it was."""

import hashlib
import json
import signal

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

import tunesmith as ts
from tests.api.test_train import QUICK
from tests.runs.tiny import base_folder, rows_file
from tests.whole import whole_folder
from tunesmith.training.events import Planned, StepDone


def state_of(model):
    """Everything of a model that somebody who holds it could notice."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "weights": {
            name: (
                hashlib.sha256(t.detach().numpy().tobytes()).hexdigest(),
                t.data_ptr(),
                t.requires_grad,
                t.grad is None,
            )
            for name, t in tensors.items()
        },
        "modules": {
            name: (id(m), type(m), m.training, len(m._forward_hooks), sorted(vars(m)))
            for name, m in model.named_modules()
        },
        "config": model.config.to_json_string(use_diff=False),
        "attention": model.config._attn_implementation,
    }


@pytest.fixture
def held(tmp_path):
    folder = base_folder(tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    model.lm_head.register_forward_hook(lambda *_: None)
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def go(held, tmp_path, home):
    def train(name, method="lora", **keywords):
        keywords = {"steps": 2, "lr": 0.01, "checks": ["exact"], "eval": 0.25, **keywords}
        file = tmp_path / "rows.jsonl"
        return ts.train(
            file if file.exists() else rows_file(file),
            method=method,
            out=tmp_path / name,
            settings=QUICK,
            progress=False,
            **{"model": held, **keywords},
        )

    return train


@pytest.mark.parametrize("method", ["lora", "full", "prompt", "p-tuning"])
def test_training_leaves_a_model_as_it_was(held, go, method):
    before = state_of(held[0])
    run = go("run", method)
    assert state_of(held[0]) == before
    assert run.evaluation is not None


def test_a_model_in_bfloat16_has_the_frequencies_of_its_folder(held, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.bfloat16)
    loaded = ts.load(model, tokenizer=held[1])._shared.loaded.engine.model
    of_folder = ts.load(tmp_path / "base", dtype="bfloat16")._shared.loaded.engine.model
    ours, theirs = (dict(each.named_buffers()) for each in (loaded, of_folder))
    assert ours.keys() == theirs.keys()
    for name, buffer in ours.items():
        assert buffer.dtype == theirs[name].dtype
        assert torch.equal(buffer, theirs[name])


def test_it_is_as_it_was_after_an_error_and_after_ctrl_c(held, go):
    before = state_of(held[0])

    def fail(event):
        if isinstance(event, StepDone):
            raise ZeroDivisionError

    def press(event):
        if isinstance(event, StepDone):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(ZeroDivisionError):
        go("failed", on_event=fail)
    assert state_of(held[0]) == before
    with pytest.raises(ts.Cancelled):
        go("cut", "full", on_event=press)
    assert state_of(held[0]) == before


def test_the_adapter_is_that_of_the_same_base_in_a_folder(held, go, tmp_path):
    mine, theirs = go("mine"), go("theirs", model=tmp_path / "base", dtype="float32")
    name = "adapter_model.safetensors"
    assert (mine.adapter / name).read_bytes() == (theirs.adapter / name).read_bytes()
    config = (mine.folder / "config.yaml").read_text()
    assert f"model: {tmp_path / 'base'}" in config, "it is the folder that it was loaded from"


def test_a_changed_model_is_saved_once_and_the_run_can_be_evaluated_later(held, go, home):
    with torch.no_grad():
        held[0].model.embed_tokens.weight.mul_(1.01)
    run, again = go("run"), go("again")
    (folder,) = (home / "models").glob("in-memory-*")
    assert f"model: {folder}" in (run.folder / "config.yaml").read_text()
    assert f"model: {folder}" in (again.folder / "config.yaml").read_text()
    found = ts.evaluate(run, progress=False)
    assert found.to_json()["arms"].keys() == run.evaluation["arms"].keys()


def test_full_trains_a_copy_whose_memory_is_planned(held, go):
    plans = []
    go("run", "full", on_event=lambda e: plans.append(e) if isinstance(e, Planned) else None)
    size = sum(parameter.nbytes for parameter in held[0].parameters())
    assert plans[0].trainable_parameters == sum(p.numel() for p in set(held[0].parameters()))
    assert plans[0].peak_bytes > 2 * size


def test_what_cannot_be_a_base_is_refused(held, tmp_path):
    peft = pytest.importorskip("peft")
    model, tokenizer = held
    wrapped = peft.get_peft_model(
        model, peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"])
    )
    with pytest.raises(ts.ModelError, match="wrapped by PEFT"):
        ts.train("a.jsonl", model=(wrapped, tokenizer))
    with pytest.raises(ts.UsageError, match="comes with its tokenizer"):
        ts.train("a.jsonl", model=model)
    with pytest.raises(ts.ModelError, match=r"is in float16"):
        ts.train("a.jsonl", model=(wrapped.unload().half(), tokenizer))


def test_a_model_in_memory_answers_and_stays_as_it_was(held):
    before = state_of(held[0])
    model = ts.load(held)
    assert len(model.generate(["Hi", "Ho"], max_new_tokens=3)) == 2
    assert state_of(held[0]) == before


def test_a_whole_class_stays_whole_and_is_the_folder_it_was_loaded_from(tmp_path, go):
    folder = whole_folder(tmp_path / "whole", "gemma3")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    before = state_of(model)
    run = go("run", model=(model, AutoTokenizer.from_pretrained(folder)), checks=[])
    assert state_of(model) == before
    config = json.loads((run.adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "whole"
    assert all(name.startswith("model.language_model.") for name in config["target_modules"])
