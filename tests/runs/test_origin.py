"""An adapter finds its base by name or content, here and elsewhere, and names no path."""

import json
import shutil
import warnings

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.runs.tiny import config
from tunesmith.adapters.folder import FILE, read_origin
from tunesmith.adapters.loaded_base import attach_folder, open_base
from tunesmith.core.errors import AdapterError
from tunesmith.models import catalog
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.runs.locate import locate
from tunesmith.runs.run import train_run

PEFT_CONFIG = "adapter_config.json"
RESULTS = ("adapter", "model")


def trained(tmp_path, **changes):
    """The adapter folder of a short run."""
    train = {"steps": 1, "rows_per_step": 3}
    made = config(tmp_path, train=train, evaluate={}, **changes)
    train_run(made)
    return tmp_path / "run" / "adapter"


@pytest.fixture
def named_base(tmp_path, home):
    """A tiny base in the cache, in the place of the one with this short name."""
    entry = catalog.ENTRIES[0]
    config(tmp_path)
    shutil.copytree(tmp_path / "base", entry.folder)
    return entry


def texts_of(folder):
    """Every text that travels with an adapter or a model."""
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in folder.iterdir()
        if path.suffix in (".json", ".md", ".jinja")
    }


def test_peft_loads_it_over_the_base_and_says_nothing(tmp_path, named_base):
    adapter = trained(tmp_path, model=named_base.name)
    base = AutoModelForCausalLM.from_pretrained(named_base.folder, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = PeftModel.from_pretrained(base, adapter)
    assert model.peft_config["default"].base_model_name_or_path == named_base.hub_id
    parameters = dict(model.named_parameters())
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, tensor in tensors.items():
        loaded = parameters[name.replace(".weight", ".default.weight")]
        assert torch.equal(loaded.float(), tensor)


def test_it_names_its_base_in_words_that_mean_the_same_elsewhere(tmp_path, named_base):
    adapter = trained(tmp_path, model=named_base.name)
    written = json.loads((adapter / PEFT_CONFIG).read_text())
    assert written["base_model_name_or_path"] == named_base.hub_id
    origin = read_origin(adapter)
    assert (origin.base, origin.kind) == (named_base.name, "lora")
    assert origin.hub_id == named_base.hub_id
    assert origin.sha256 == hash_folder(named_base.folder, fresh=True)[COMBINED]


@pytest.mark.parametrize("kind", ["lora", "prompt", "full"])
def test_no_file_of_it_names_a_path_of_this_machine(tmp_path, home, kind):
    trained(tmp_path, method={"kind": kind})
    (folder,) = (tmp_path / "run" / name for name in RESULTS if (tmp_path / "run" / name).is_dir())
    for name, text in texts_of(folder).items():
        assert str(tmp_path) not in text, name


def test_a_whole_model_says_so_too_and_not_what_its_base_said(tmp_path):
    base = config(tmp_path) and tmp_path / "base"
    (base / FILE).write_text('{"base": {"name": "older", "sha256": "1"}, "method": {"kind": "x"}}')
    trained(tmp_path, method={"kind": "full"})
    origin = read_origin(tmp_path / "run" / "model")
    assert (origin.base, origin.kind, origin.hub_id) == ("base", "full", None)
    assert origin.sha256 == hash_folder(base, fresh=True)[COMBINED]


def test_a_moved_adapter_finds_its_base_by_its_short_name(tmp_path, named_base):
    adapter = trained(tmp_path, model=named_base.name)
    moved = tmp_path / "elsewhere"
    shutil.move(adapter, moved)
    values = json.loads((moved / PEFT_CONFIG).read_text())
    values["base_model_name_or_path"] = "/home/other/.cache/tunesmith/models/x"
    (moved / PEFT_CONFIG).write_text(json.dumps(values))
    as_before_records(moved, base=named_base.name)
    found = locate(str(moved))
    assert found.model == named_base.name
    attach_folder(open_base(found.model), found.adapters["elsewhere"])


def test_an_adapter_alone_and_its_run_name_the_same_base(tmp_path, named_base):
    copied = shutil.copytree(trained(tmp_path, model=named_base.name), tmp_path / "copied")
    assert locate(str(copied), [str(tmp_path / "run")]).notes == ()


def as_before_records(folder, *, base):
    """What Tunesmith wrote about an adapter as earlier versions wrote it."""
    origin = read_origin(folder)
    values = {"base": {"name": base, "sha256": origin.sha256}, "method": {"kind": origin.kind}}
    (folder / FILE).write_text(json.dumps(values))


def test_a_base_that_is_a_folder_is_named_without_its_place_and_found_by_content(
    tmp_path, home, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    adapter = trained(tmp_path, model="base")
    written = json.loads((adapter / PEFT_CONFIG).read_text())
    assert written["base_model_name_or_path"] == "base"
    moved = shutil.copytree(adapter, tmp_path / "copied")
    assert locate(str(moved)).model == "base"
    monkeypatch.chdir("/")
    found = locate(str(moved))
    assert found.model == str(tmp_path / "base")
    attach_folder(open_base(found.model), found.adapters["copied"])


def test_another_folder_of_the_same_name_is_not_taken_for_the_base(tmp_path, home, monkeypatch):
    adapter = trained(tmp_path, model=str(tmp_path / "base"))
    copied = shutil.copytree(adapter, tmp_path / "copied")
    (tmp_path / "elsewhere" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert locate(str(copied)).model == str(tmp_path / "base")


def test_an_adapter_made_before_still_finds_its_base_by_its_path(tmp_path, home, monkeypatch):
    adapter = trained(tmp_path)
    shutil.rmtree(home / "bases")
    old = shutil.copytree(adapter, tmp_path / "old")
    values = json.loads((old / PEFT_CONFIG).read_text())
    values["base_model_name_or_path"] = str(tmp_path / "base")
    (old / PEFT_CONFIG).write_text(json.dumps(values))
    as_before_records(old, base=str(tmp_path / "base"))
    monkeypatch.chdir("/")
    found = locate(str(old))
    assert found.model == str(tmp_path / "base")
    attach_folder(open_base(found.model), found.adapters["old"])


def test_a_base_that_moved_is_missed_with_the_way_out_which_works(tmp_path, home):
    adapter = trained(tmp_path)
    copied = shutil.copytree(adapter, tmp_path / "copied")
    (tmp_path / "base").rename(tmp_path / "other")
    with pytest.raises(AdapterError, match="its base is not here: there is no") as error:
        locate(str(copied))
    assert f"tunesmith chat MODEL --adapter {copied}" in error.value.remedy
    found = locate(str(tmp_path / "other"), [str(copied)])
    attach_folder(open_base(found.model), found.adapters["copied"])


def test_an_adapter_over_4_bit_brings_its_base_in_4_bit(tmp_path, home):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / PEFT_CONFIG).write_text(json.dumps({"base_model_name_or_path": "some/base"}))
    origin = {"base": {"name": "some/base", "sha256": "0"}, "method": {"kind": "qlora"}}
    (folder / FILE).write_text(json.dumps(origin))
    assert locate(str(folder)).four_bit
    (folder / FILE).write_text("{")
    assert not locate(str(folder)).four_bit


def test_an_adapter_with_its_own_tokenizer_keeps_it_beside_its_origin(tmp_path):
    method = {"kind": "lora", "rank": 2, "new_tokens": ["<new>"]}
    adapter = trained(tmp_path, method=method)
    assert {FILE, "tokenizer.json", "README.md"} <= {path.name for path in adapter.iterdir()}
