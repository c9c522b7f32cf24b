"""An adapter finds its base: by PEFT where it was trained, by the base's name elsewhere."""

import json
import shutil
import warnings

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file

from tests.runs.tiny import config
from tunesmith.adapters.folder import FILE, read_origin
from tunesmith.adapters.loaded_base import attach_folder, open_base
from tunesmith.core.errors import AdapterError
from tunesmith.models import catalog
from tunesmith.models.hashes import COMBINED, hash_folder
from tunesmith.runs.locate import locate
from tunesmith.runs.run import train_run

PEFT_CONFIG = "adapter_config.json"


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


def test_peft_loads_the_folder_alone_and_says_nothing(tmp_path, named_base):
    adapter = trained(tmp_path, model=named_base.name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model = AutoPeftModelForCausalLM.from_pretrained(adapter, dtype=torch.float32)
    assert model.peft_config["default"].base_model_name_or_path == str(named_base.folder)
    parameters = dict(model.named_parameters())
    tensors = load_file(adapter / "adapter_model.safetensors")
    for name, tensor in tensors.items():
        loaded = parameters[name.replace(".weight", ".default.weight")]
        assert torch.equal(loaded.float(), tensor)


def test_the_folder_says_which_base_it_was_in_words_that_mean_the_same_elsewhere(
    tmp_path, named_base
):
    adapter = trained(tmp_path, model=named_base.name)
    written = json.loads((adapter / PEFT_CONFIG).read_text())
    assert written["base_model_name_or_path"] == str(named_base.folder)
    origin = read_origin(adapter)
    assert (origin.base, origin.kind) == (named_base.name, "lora")
    assert origin.sha256 == hash_folder(named_base.folder, fresh=True)[COMBINED]


def test_a_whole_model_says_so_too_and_not_what_its_base_said(tmp_path):
    base = config(tmp_path) and tmp_path / "base"
    (base / FILE).write_text('{"base": {"name": "older", "sha256": "1"}, "method": {"kind": "x"}}')
    trained(tmp_path, method={"kind": "full"})
    origin = read_origin(tmp_path / "run" / "model")
    assert (origin.base, origin.kind) == (str(base), "full")
    assert origin.sha256 == hash_folder(base, fresh=True)[COMBINED]


def test_a_moved_adapter_finds_its_base_by_its_short_name(tmp_path, named_base):
    adapter = trained(tmp_path, model=named_base.name)
    moved = tmp_path / "elsewhere"
    shutil.move(adapter, moved)
    values = json.loads((moved / PEFT_CONFIG).read_text())
    values["base_model_name_or_path"] = "/home/other/.cache/tunesmith/models/x"
    (moved / PEFT_CONFIG).write_text(json.dumps(values))
    found = locate(str(moved))
    assert found.model == named_base.name
    attach_folder(open_base(found.model), found.adapters["elsewhere"])


def test_an_adapter_alone_and_its_run_name_the_same_base(tmp_path, named_base):
    copied = shutil.copytree(trained(tmp_path, model=named_base.name), tmp_path / "copied")
    assert locate(str(copied), [str(tmp_path / "run")]).notes == ()


def test_a_base_that_is_a_folder_is_written_as_a_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adapter = trained(tmp_path, model="base")
    written = json.loads((adapter / PEFT_CONFIG).read_text())
    assert written["base_model_name_or_path"] == str(tmp_path / "base")
    moved = shutil.copytree(adapter, tmp_path / "copied")
    monkeypatch.chdir("/")
    assert locate(str(moved)).model == str(tmp_path / "base")


def test_a_base_that_moved_is_missed_with_the_way_out_which_works(tmp_path):
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
