"""An adapter and a base that do not fit: everything is told, each with its way out."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.adapters.test_store import randomise
from tests.models.tiny import tiny_folder
from tunesmith.adapters import fit, store
from tunesmith.adapters import folder as config_file
from tunesmith.adapters import folder as folder_files
from tunesmith.adapters.fit import Identity, mismatches
from tunesmith.adapters.folder import Origin, write_origin
from tunesmith.adapters.loaded_base import open_base, open_skeleton
from tunesmith.config.methods import LoraSettings, PromptSettings, PTuningSettings
from tunesmith.core.errors import AdapterError
from tunesmith.methods import table
from tunesmith.models.hashes import COMBINED, hash_folder

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def base(tmp_path):
    return tiny_folder(tmp_path / "tiny")


@pytest.fixture
def adapter(base, tmp_path):
    loaded = open_base(str(base), dtype="float32", device="cpu")
    made = table.attach(loaded.engine, LoraSettings(rank=2), name="a")
    randomise(made)
    store.save(tmp_path / "a", made, loaded.engine, base="owner/Tiny")
    return tmp_path / "a"


def kinds(folder, base, *, name=None, trusted=False):
    found, skeleton = open_skeleton(str(base))
    identity = Identity(name or str(base), found, trusted)
    return [(each.kind, each.overridden) for each in mismatches(folder, skeleton, identity)]


def with_hash(folder, sha256):
    write_origin(folder, Origin("tiny", sha256, "lora"))


def test_what_fits_has_no_mismatch_whoever_owns_the_name(adapter, base):
    assert kinds(adapter, base) == []
    assert kinds(adapter, base, name="tiny") == []


def test_a_name_alone_can_be_overridden_and_a_hash_cannot(adapter, base, tmp_path):
    other = base.rename(tmp_path / "other")
    assert kinds(adapter, other) == [("name", False)]
    assert kinds(adapter, other, trusted=True) == [("name", True)]
    with_hash(adapter, "0" * 64)
    assert kinds(adapter, other, trusted=True) == [("hash", False)]


def test_the_same_files_are_the_same_base_under_any_name(adapter, base, tmp_path):
    with_hash(adapter, hash_folder(base)[COMBINED])
    other = base.rename(tmp_path / "other")
    assert kinds(adapter, other) == []


def test_every_layer_that_is_missing_or_of_another_width_is_told(adapter, tmp_path):
    small = tiny_folder(tmp_path / "small" / "tiny", num_hidden_layers=1, intermediate_size=80)
    found, skeleton = open_skeleton(str(small))
    told = [each.message for each in mismatches(adapter, skeleton, Identity("tiny", found))]
    assert sum("model.layers.1." in each and "not a linear layer" in each for each in told) == 14
    assert sum("the layer's width is 80" in each for each in told) == 3
    assert len(told) == 17


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_told_and_not_loaded(adapter, base, bad):
    tensors = load_file(adapter / folder_files.TENSORS)
    name = sorted(tensors)[0]
    tensors[name][0, 0] = bad
    save_file(tensors, adapter / folder_files.TENSORS)
    assert kinds(adapter, base) == [("values", False)]
    loaded = open_base(str(base), dtype="float32", device="cpu")
    with pytest.raises(AdapterError, match=r"the adapter is broken: .* not finite") as refused:
        store.load(loaded.engine, adapter)
    assert "earlier checkpoint" in refused.value.remedy


def test_what_cannot_be_read_is_a_mismatch_with_its_remedy(adapter, base):
    config = json.loads((adapter / config_file.CONFIG).read_text())
    (adapter / config_file.CONFIG).write_text(
        json.dumps({**config, "modules_to_save": ["lm_head"]})
    )
    assert kinds(adapter, base) == [("format", False)]
    (adapter / folder_files.TENSORS).unlink()
    _, skeleton = open_skeleton(str(base))
    (found,) = mismatches(adapter, skeleton)
    assert "is missing" in found.message
    assert "safetensors" in found.remedy


def edited(adapter, **changes):
    config = json.loads((adapter / config_file.CONFIG).read_text())
    (adapter / config_file.CONFIG).write_text(json.dumps({**config, **changes}))


def test_ranks_that_the_tensors_do_not_have_are_told_as_peft_reads_them(adapter, base):
    _, skeleton = open_skeleton(str(base))
    edited(adapter, r=1)
    (found,) = mismatches(adapter, skeleton)
    assert found.kind == "format"
    assert "r = 1" in found.message
    assert "model.layers.0.mlp.down_proj has rank 2 instead of 1" in found.message
    assert "Copy the folder again" in found.remedy
    edited(adapter, r=2, rank_pattern={"layers.1.mlp.up_proj": 3})
    (found,) = mismatches(adapter, skeleton)
    assert "model.layers.1.mlp.up_proj has rank 2 instead of 3" in found.message
    assert "layers.0" not in found.message
    edited(adapter, r=1, rank_pattern={".*_proj": 2})
    assert mismatches(adapter, skeleton) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"lora_alpha": "much"},
        {"r": None},
        {"rank_pattern": {"up_proj": "two"}},
        {"rank_pattern": {"up_(proj": 2}},
        {"alpha_pattern": [1]},
    ],
)
def test_numbers_that_are_none_are_told_by_key_with_a_remedy(adapter, base, changes):
    _, skeleton = open_skeleton(str(base))
    edited(adapter, **changes)
    (found,) = mismatches(adapter, skeleton)
    assert (found.kind, *changes) == ("format", next(k for k in changes if k in found.message))
    assert "adapter was made" in found.remedy


@pytest.mark.parametrize("settings", [PromptSettings(tokens=4), PTuningSettings(tokens=4)])
def test_another_number_of_virtual_tokens_than_the_tensor_holds_is_told(base, tmp_path, settings):
    loaded = open_base(str(base), dtype="float32", device="cpu")
    made = table.attach(loaded.engine, settings, name="v")
    store.save(tmp_path / "v", made, loaded.engine, base="owner/Tiny")
    edited(tmp_path / "v", num_virtual_tokens=3)
    (found,) = mismatches(tmp_path / "v", loaded.engine)
    assert found.kind == "format"
    assert "holds 4 virtual tokens" in found.message
    assert "num_virtual_tokens = 3" in found.message


def test_all_kinds_are_refused_in_one_message(adapter, tmp_path):
    small = tiny_folder(tmp_path / "small", num_hidden_layers=1)
    found, skeleton = open_skeleton(str(small))
    unfit = mismatches(adapter, skeleton, Identity("small", found))
    with pytest.raises(AdapterError, match=r"not made for this base: it names 'owner/Tiny'") as e:
        fit.require(adapter, unfit)
    assert "and 10 more" in e.value.message
    assert "--force" in e.value.remedy


def test_without_weights_a_base_is_as_with_them(base):
    _, skeleton = open_skeleton(str(base))
    engine = open_base(str(base), dtype="float32", device="cpu").engine
    widths = [
        {n: (layer.in_features, layer.out_features) for n, layer in each.linears.items()}
        for each in (skeleton, engine)
    ]
    assert widths[0] == widths[1]
    assert skeleton.head_weight.device == torch.device("meta")
    assert skeleton.tied == engine.tied
