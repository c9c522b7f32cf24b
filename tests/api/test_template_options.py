"""Variables of the chat template: rendered with, asked with, and taken along."""

import json

import pytest
from gguf import GGUFReader

import tunesmith as ts
from tests.runs.tiny import TEMPLATE, UNMEASURED, base_folder, config
from tunesmith.adapters.folder import read_origin
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.progress import SILENT
from tunesmith.models.load import read_tokenizer
from tunesmith.runs.adapter_record import record_of
from tunesmith.runs.result import open_for, resolved
from tunesmith.runs.run import train_run
from tunesmith.runs.show_data import show_data

MARK = "{% if brief %}{{ '<|im_start|>brief\n' }}{% endif %}"
OPTIONS = {"brief": True}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run of an adapter and one of the whole model, over a base whose template has a switch."""
    root = tmp_path_factory.mktemp("options")
    (base_folder(root / "base") / "chat_template.jinja").write_text(MARK + TEMPLATE)
    (root / "rows.jsonl").write_text(
        "".join(json.dumps({"prompt": f"say {i}", "completion": f"{i}"}) + "\n" for i in range(24))
    )
    data = {"train": str(root / "rows.jsonl"), "eval": 0.2, "template_options": OPTIONS}
    more = {"evaluate": {"checks": [], **UNMEASURED}, "train": {"steps": 1, "rows_per_step": 3}}
    for kind in ("lora", "full"):
        train_run(config(root, data=data, method={"kind": kind}, out=str(root / kind), **more))
    return root


def begins_briefly(prompt, folder):
    return (
        read_tokenizer(folder, trust_remote_code=False)
        .decode(prompt.ids)
        .startswith("<|im_start|>brief\n")
    )


def test_the_adapter_knows_them(folders):
    adapter = folders / "lora" / "adapter"
    assert read_origin(adapter).template_options == OPTIONS
    assert record_of(adapter).to_json()["template_options"] == OPTIONS
    assert '{"brief": true}' in (adapter / "README.md").read_text()
    assert "brief: true" in (folders / "lora" / "config.yaml").read_text()


def test_rows_and_every_arm_are_rendered_with_them(folders):
    run = config(folders, data={"train": str(folders / "rows.jsonl"), "template_options": OPTIONS})
    loaded = open_for(run, progress=SILENT)
    template = loaded.base.tokenizer.chat_template
    assert template == loaded.tokenizer("any").chat_template
    assert template.endswith(MARK + TEMPLATE)
    (shown, *_) = show_data(run, max_rows=1).rows
    assert shown.text.startswith("<|im_start|>brief\n")


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_prompt_is_written_with_them(kind, folders):
    model = ts.load(folders / kind)
    (prompt,) = model._shared.prompts(["say 1"], [model.default])
    assert begins_briefly(prompt, folders / "base")
    if kind == "lora":
        (plain,) = model._shared.prompts(["say 1"], [None])
        assert not begins_briefly(plain, folders / "base")


def test_a_run_that_continues_an_adapter_has_its_variables(folders):
    init = str(folders / "lora" / "adapter")
    data = {"train": str(folders / "rows.jsonl"), "eval": 0.2}
    again = config(folders, data=data, method={"kind": "lora", "init": init})
    assert resolved(again).data.template_options == OPTIONS
    own = config(folders, data={**data, "template_options": {}}, method=again.method.model_dump())
    assert resolved(own).data.template_options == {}


def test_another_value_can_be_given_to_a_chat(folders):
    def prompt_of(talk):
        (participant,) = talk._below.participants
        return participant._tokenizer.apply_chat_template(
            [{"role": "user", "content": "q"}], tokenize=False
        )

    assert prompt_of(ts.chat(folders / "lora")).startswith("<|im_start|>brief")
    off = ts.chat(folders / "lora", template_options={"brief": False})
    assert not prompt_of(off).startswith("<|im_start|>brief")
    on = ts.chat(folders / "base", template_options={"brief": True})
    assert prompt_of(on).startswith("<|im_start|>brief")


def test_exports_take_them_along(folders, tmp_path):
    run = folders / "lora"
    ts.export(run, "merged", tmp_path / "merged", prompts=0)
    template = read_tokenizer(tmp_path / "merged", trust_remote_code=False).chat_template
    assert template.endswith(MARK + TEMPLATE)
    assert template != MARK + TEMPLATE
    done = ts.export(run, "ollama", tmp_path / "ollama", prompts=0)
    assert "<|im_start|>brief" in (done.out / "Modelfile").read_text()
    fields = GGUFReader(done.out / "model.gguf").fields
    assert fields["tokenizer.chat_template"].contents() == template
    for target in ("vllm", "gguf"):
        done = ts.export(run, target, tmp_path / target, prompts=0)
        assert '{"brief": true}' in " ".join(done.found.notes)
    done = ts.export(run, "peft", tmp_path / "peft", prompts=0)
    assert read_origin(done.out).template_options == OPTIONS


def test_an_unknown_one_is_refused_before_training(folders):
    data = {"train": str(folders / "rows.jsonl"), "template_options": {"breif": True}}
    with pytest.raises(DataError, match="no variable `breif`") as caught:
        train_run(config(folders, data=data, out=str(folders / "odd")))
    assert "`brief`" in caught.value.remedy
    with pytest.raises(ConfigError, match="template_options"):
        config(folders, data={**data, "template_options": {"a b": 1}})
