"""A folder that cannot be loaded safely is refused with every fault."""

import json

import pytest

from tests.models.tiny import tiny_folder
from tunesmith.core.errors import ModelError
from tunesmith.models.supported import check_folder


@pytest.fixture
def folder(tmp_path):
    return tiny_folder(tmp_path / "base")


def test_whole_base_passes(folder):
    assert check_folder(folder) == folder


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickle_only_is_refused_with_the_way_to_convert(folder, name):
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ModelError, match=rf"pickle files \({name}\).*save_file"):
        check_folder(folder)


def test_pickle_beside_safetensors_does_not_matter(folder):
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert check_folder(folder) == folder


def test_all_faults_come_at_once(folder):
    (folder / "config.json").unlink()
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(ModelError, match=r"no config\.json; model\.safetensors is damaged"):
        check_folder(folder)


def test_missing_shards_are_named(folder):
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"missing shards \(1 of 2\): model-2\.safetensors"):
        check_folder(folder)


def test_adapter_is_recognised_and_its_base_named(tmp_path):
    config = {"base_model_name_or_path": "org/base"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="is an adapter, made for org/base"):
        check_folder(tmp_path)


def test_unreadable_folder_is_said(tmp_path, monkeypatch):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "iterdir", denied)
    with pytest.raises(ModelError, match="cannot be read: Permission denied"):
        check_folder(tmp_path)


def test_unreadable_weights_are_said(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "gone")
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged, cut short or unreadable"):
        check_folder(folder)
