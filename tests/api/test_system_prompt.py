"""A system message of the settings: trained under, asked under, and taken along."""

import json
import shutil

import pytest

import tunesmith as ts
from tests.runs.tiny import UNMEASURED, config
from tunesmith.adapters.folder import read_origin
from tunesmith.runs.adapter_record import record_of
from tunesmith.runs.locate import locate
from tunesmith.runs.run import train_run

SYSTEM = "You are Momo.\nYou say ``` little."
HI = [{"role": "user", "content": "say 1"}]
UNDER = [{"role": "system", "content": SYSTEM}, *HI]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two runs over a base under a system message, one of them of the whole model."""
    root = tmp_path_factory.mktemp("system")
    data = {"train": str(root / "rows.jsonl"), "eval": 0.2, "system": SYSTEM}
    evaluate = {"checks": [], **UNMEASURED}
    train = {"steps": 1, "rows_per_step": 3}
    for kind in ("lora", "full"):
        out = str(root / kind)
        settings = {"data": data, "evaluate": evaluate, "train": train, "out": out}
        train_run(config(root, method={"kind": kind}, **settings))
    return root


def test_the_adapter_knows_it(folders):
    assert read_origin(folders / "lora" / "adapter").system == SYSTEM
    card = (folders / "lora" / "adapter" / "README.md").read_text()
    assert f"````text\n{SYSTEM}\n````" in card
    assert SYSTEM in (folders / "full" / "model" / "README.md").read_text()
    assert record_of(folders / "lora" / "adapter").to_json()["system"] == SYSTEM
    own = json.loads((folders / "lora" / "adapter" / "tunesmith.json").read_text())
    assert own["system"] == SYSTEM


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_prompt_without_one_is_asked_under_it(kind, folders):
    model = ts.load(folders / kind)
    plain, under, empty = (model._shared.prompts([row], [model.default]) for row in (
        HI, UNDER, [{"role": "system", "content": ""}, *HI],
    ))  # fmt: skip
    assert plain == under != empty
    if kind == "lora":
        (of_the_base,) = model._shared.prompts([HI], [None])
        assert of_the_base.ids != plain[0].ids


def test_a_chat_begins_with_it_unless_another_is_given(folders):
    run = folders / "lora"
    assert ts.chat(run).system == SYSTEM
    assert ts.chat(run, system="Another.").system == "Another."
    assert ts.chat(run, system="").system is None
    assert ts.chat(folders / "full").system == SYSTEM
    assert ts.chat(folders / "base").system is None
    assert ts.load(run).chat().system == SYSTEM
    assert ts.load(run).chat(None).system is None


def test_adapters_of_other_system_prompts_are_named(folders, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(folders / "lora" / "adapter", other)
    own = json.loads((other / "tunesmith.json").read_text())
    (other / "tunesmith.json").write_text(json.dumps({**own, "system": "Be Ada."}))
    found = locate(str(folders / "lora"), [str(other)])
    assert found.system == SYSTEM
    assert found.notes == (
        "other was trained under another system prompt than the one that all are asked under",
    )
    assert locate(str(folders / "lora"), [str(folders / "lora" / "adapter")]).notes == ()


def test_exports_take_it_along(folders, tmp_path):
    run = folders / "lora"
    done = ts.export(run, "ollama", tmp_path / "ollama", prompts=0)
    modelfile = (done.out / "Modelfile").read_text()
    assert f'SYSTEM """{SYSTEM}"""' in modelfile
    done = ts.export(run, "gguf", tmp_path / "gguf", prompts=0)
    assert "--system-prompt" in done.found.next[0]
    done = ts.export(run, "vllm", tmp_path / "vllm", prompts=0)
    assert SYSTEM in " ".join(done.found.notes)
    ts.export(run, "merged", tmp_path / "merged", prompts=0)
    assert ts.chat(tmp_path / "merged").system == SYSTEM
    done = ts.export(run, "peft", tmp_path / "peft", prompts=0)
    assert read_origin(done.out).system == SYSTEM
