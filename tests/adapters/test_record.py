"""An adapter's record: one byte, a missing and an added file are found, and not loaded."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.adapters.test_store import randomise
from tests.models.tiny import tiny_folder
from tunesmith.adapters import fit, sources, store
from tunesmith.adapters.combined import Combination, save
from tunesmith.adapters.combined import Fit as CombinedFit
from tunesmith.adapters.fit import Identity, mismatches
from tunesmith.adapters.folder import FILE, TENSORS, read_origin, recorded_files, write_origin
from tunesmith.adapters.loaded_base import attach_folder, open_base, open_skeleton
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError
from tunesmith.exports.adapter_folder import write_peft, write_vllm
from tunesmith.methods import table
from tunesmith.models.hashes import COMBINED, hash_folder

pytestmark = pytest.mark.usefixtures("home")
CONFIG = "adapter_config.json"


@pytest.fixture
def base(tmp_path):
    return tiny_folder(tmp_path / "tiny")


@pytest.fixture
def adapter(base, tmp_path):
    """An adapter with its record, and a tokenizer of its own."""
    loaded = open_base(str(base), dtype="float32", device="cpu")
    made = table.attach(loaded.engine, LoraSettings(rank=2), name="a")
    randomise(made)
    identity = Identity(str(base), base)

    def beside(into):
        write_origin(into, identity.origin("lora"))
        loaded.base.tokenizer.save_pretrained(into)

    store.save(tmp_path / "a", made, loaded.engine, base="tiny", beside=beside)
    return tmp_path / "a"


def found_in(adapter, base, *, trusted=False):
    folder, skeleton = open_skeleton(str(base))
    return mismatches(adapter, skeleton, Identity(str(base), folder, trusted))


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_every_file_but_notes_is_recorded_and_none_differs_at_first(adapter, base):
    names = {path.name for path in adapter.iterdir()}
    assert recorded_files(adapter).keys() == names - {FILE, "README.md"}
    assert {CONFIG, TENSORS, "tokenizer.json"} <= names
    assert found_in(adapter, base) == []


def test_one_byte_that_was_changed_is_found_in_every_file(adapter, base):
    for name in recorded_files(adapter):
        path = adapter / name
        kept = path.read_bytes()
        flip(path, len(kept) - 1)
        first, *_ = found_in(adapter, base)
        assert (first.kind, first.differs) == ("files", (name,))
        assert f"{name} was changed" in first.message
        path.write_bytes(kept)
    assert found_in(adapter, base) == []


def test_a_file_that_is_missing_or_added_is_found_and_a_note_is_not(adapter, base):
    (adapter / "README.md").write_text("another card")
    (adapter / "LICENSE").write_text("mine")
    (adapter / ".gitattributes").write_text("*.safetensors lfs")
    assert found_in(adapter, base) == []
    (adapter / "tokenizer.json").unlink()
    (adapter / "adapter_model.bin").write_bytes(b"pickle")
    assert [(each.kind, each.message) for each in found_in(adapter, base)] == [
        ("files", "adapter_model.bin was added: it was not written with the adapter"),
        ("files", "tokenizer.json is missing: it was written with the adapter"),
    ]


def test_what_was_changed_is_not_loaded_unless_that_is_meant(adapter, base):
    tensors = load_file(adapter / TENSORS)
    name = next(iter(tensors))
    save_file({**tensors, name: tensors[name] + 1}, adapter / TENSORS)
    loaded = open_base(str(base), dtype="float32", device="cpu")
    with pytest.raises(AdapterError, match=f"is not as it was written: {TENSORS} was changed") as e:
        attach_folder(loaded, adapter)
    assert "--force" in e.value.remedy
    with pytest.raises(AdapterError, match="was changed"):
        sources.read(adapter)
    attach_folder(loaded, adapter, force=True)
    assert sources.read(adapter, trusted=True).shapes
    (mismatch,) = found_in(adapter, base, trusted=True)
    assert mismatch.overridden


def test_an_adapter_without_a_record_stays_valid(adapter, base):
    written = json.loads((adapter / FILE).read_text())
    assert written.pop("files")
    (adapter / FILE).write_text(json.dumps(written))
    flip(adapter / TENSORS, -1)
    assert found_in(adapter, base) == []
    assert recorded_files(adapter) is None


@pytest.mark.parametrize("write", [write_peft, write_vllm])
def test_a_copy_for_another_program_has_a_record_of_its_own(write, adapter, base, tmp_path):
    write(adapter, tmp_path / "out", dtype=torch.bfloat16, origin=read_origin(adapter))
    assert recorded_files(tmp_path / "out")[TENSORS] != recorded_files(adapter)[TENSORS]
    assert found_in(tmp_path / "out", base) == []
    flip(tmp_path / "out" / TENSORS, -1)
    assert [each.kind for each in found_in(tmp_path / "out", base)] == ["files"]


def test_a_combination_has_a_record_and_names_its_parts_without_their_folders(
    adapter, base, tmp_path
):
    other = shutil.copytree(adapter, tmp_path / "runs" / "b" / "adapter")
    both = Combination([sources.read(adapter), sources.read(other)], [1, 0.5])
    save(tmp_path / "out", both, CombinedFit())
    assert found_in(tmp_path / "out", base) == []
    written = json.loads((tmp_path / "out" / FILE).read_text())
    named = [(each["name"], each["weight"]) for each in written["combined"]["adapters"]]
    assert named == [("a", 1), ("b", 0.5)]
    for name in (FILE, "README.md", CONFIG):
        assert str(tmp_path) not in (tmp_path / "out" / name).read_text()


CHANGES = {
    "weights": ("model.safetensors", "the weights differ; the tokenizer and config are the same"),
    "tokenizer": (
        "chat_template.jinja",
        "the tokenizer or its chat template differs; the weights and config are the same",
    ),
    "config": ("config.json", "the config differs; the weights and tokenizer are the same"),
}


def changed_base(base, into, part):
    other = shutil.copytree(base, into)
    name = CHANGES[part][0]
    if part == "config":
        values = json.loads((other / name).read_text())
        (other / name).write_text(json.dumps({**values, "rms_norm_eps": 1e-3}))
    elif part == "weights":
        flip(other / name, -1)
    else:
        (other / name).write_text((other / name).read_text() + " ")
    return other


@pytest.mark.parametrize("part", CHANGES)
def test_which_of_weights_tokenizer_and_config_differs_is_told(adapter, base, tmp_path, part):
    other = changed_base(base, tmp_path / "other", part)
    (mismatch,) = found_in(adapter, other, trusted=True)
    assert (mismatch.kind, mismatch.differs, mismatch.overridden) == ("hash", (part,), False)
    assert mismatch.message.endswith(CHANGES[part][1])
    assert ("--method.init" in mismatch.remedy) == (part == "weights")


def test_all_that_differs_is_told_together(adapter, base, tmp_path):
    other = changed_base(base, tmp_path / "one", "tokenizer")
    other = changed_base(other, tmp_path / "two", "weights")
    (mismatch,) = found_in(adapter, other)
    assert mismatch.differs == ("weights", "tokenizer")
    text = "the weights and the tokenizer or its chat template differ; the config is the same"
    assert mismatch.message.endswith(text)


def test_the_version_that_wrote_a_config_does_not_make_another_base(adapter, base, tmp_path):
    other = shutil.copytree(base, tmp_path / "other")
    values = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**values, "transformers_version": "9"}))
    assert hash_folder(other)[COMBINED] != hash_folder(base)[COMBINED]
    assert found_in(adapter, other) == []


def test_an_earlier_record_does_not_tell_the_parts_apart(adapter, base, tmp_path):
    written = json.loads((adapter / FILE).read_text())
    del written["base"]["parts"], written["files"]
    (adapter / FILE).write_text(json.dumps(written))
    other = changed_base(base, tmp_path / "other", "tokenizer")
    (mismatch,) = found_in(adapter, other)
    assert mismatch.differs == ()
    assert "an earlier version recorded it" in mismatch.message
    fit.require(adapter, found_in(adapter, base))
