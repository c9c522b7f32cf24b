"""Shapes of weights without reading them."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.models.tiny import edit_json, tiny_folder, tiny_model
from tunesmith.core.errors import ModelError
from tunesmith.models import weights
from tunesmith.models.weights import read_weight, weight_files, weight_shapes, write_derived


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


def write(tmp_path, tensors, **options):
    source = tiny_folder(tmp_path / "base")
    edit_json(
        source / "config.json", torch_dtype="float16", quantization_config={"bits": 4}, ours=5
    )
    for name in (".hidden", "training_args.bin", "notes.txt"):
        (source / name).write_text(name)
    into = tmp_path / "out"
    into.mkdir()
    values = {"dtype": torch.bfloat16, "config": {"vocab_size": 7}, **options}
    write_derived(source, into, tensors=tensors, **values)
    return source, into


@pytest.mark.parametrize("limit", [1, 100, 10**9])
def test_tensors_lie_where_the_index_says_and_groups_are_not_torn(tmp_path, limit, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_BYTES", limit)
    groups = [{f"{i}.a": torch.full((5,), i), f"{i}.b": torch.eye(i + 2)} for i in range(4)]
    _, into = write(tmp_path, iter(groups))
    files = {path.name: load_file(path) for path in into.glob("*.safetensors")}
    everything = {name: tensor for group in groups for name, tensor in group.items()}
    assert sorted(name for held in files.values() for name in held) == sorted(everything)
    for name, tensor in everything.items():
        assert torch.equal(read_weight(into, name), tensor)
    for group in groups:
        assert any(group.keys() <= held.keys() for held in files.values())
    if len(files) == 1:
        assert list(files) == ["model.safetensors"]
        assert not (into / "model.safetensors.index.json").exists()
        return
    count = len(files)
    assert sorted(files) == [
        f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)
    ]
    index = json.loads((into / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {name: file for file, held in files.items() for name in held}
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in everything.values())


def test_other_files_are_carried_over_and_the_config_says_what_changed(tmp_path):
    source, into = write(tmp_path, [{"a": torch.ones(2)}])
    names = {path.name for path in into.iterdir()}
    assert {"notes.txt", "tokenizer.json", "chat_template.jinja"} <= names
    assert not {".hidden", "training_args.bin"} & names
    config = json.loads((into / "config.json").read_text())
    assert (config["dtype"], config["vocab_size"], config["ours"]) == ("bfloat16", 7, 5)
    assert not {"torch_dtype", "quantization_config"} & config.keys()
    assert json.loads((source / "config.json").read_text())["quantization_config"] == {"bits": 4}


def test_transformers_reads_the_shards_of_a_model(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHARD_BYTES", 20_000)
    model = AutoModelForCausalLM.from_pretrained(tiny_folder(tmp_path / "base"))
    state = dict(model.state_dict())
    _, into = write(tmp_path, ({n: t} for n, t in state.items()), dtype=torch.float32, config={})
    again = AutoModelForCausalLM.from_pretrained(into)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, state[name])
