"""Shapes of weights without reading them."""

import shutil

import pytest

from tests.models.tiny import tiny_folder, tiny_model
from tunesmith.errors import ModelError
from tunesmith.models.weights import read_weight, weight_files, weight_shapes


@pytest.mark.parametrize("shard", ["5GB", "50KB"])
def test_shapes_are_those_of_the_weights(shard, tmp_path):
    tiny_model().save_pretrained(tmp_path, max_shard_size=shard)
    shapes = weight_shapes(tmp_path)
    assert set(shapes) == set(tiny_model().state_dict())
    assert all(tuple(read_weight(tmp_path, name).shape) == s for name, s in shapes.items())


@pytest.mark.parametrize("shard", ["5GB", "50KB"])
def test_another_copy_of_the_weights_beside_them_is_left_alone(shard, tmp_path):
    tiny_model().save_pretrained(tmp_path, max_shard_size=shard)
    files = weight_files(tmp_path)
    shapes = weight_shapes(tmp_path)
    shutil.copy(files[0], tmp_path / "consolidated.safetensors")
    assert weight_files(tmp_path) == files
    assert weight_shapes(tmp_path) == shapes


def test_a_damaged_file_is_named(tmp_path):
    folder = tiny_folder(tmp_path)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"model\.safetensors: damaged"):
        weight_shapes(folder)
