"""A whole class as GGUF: the same file as the language model alone would give."""

import shutil

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from transformers import AutoConfig, AutoModelForCausalLM

from tests.whole import TEXT_KEYS, whole_folder, whole_model
from tunesmith.adapters import store
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import ModelError
from tunesmith.engine.forward import prepare_
from tunesmith.exports.gguf_model import write_adapter, write_model
from tunesmith.methods import table
from tunesmith.models.load import read_config
from tunesmith.models.text_part import config_alone, decoder_name, remove_towers_

KEYS = {
    "gemma3": {
        "attn_logit_softcapping": None,
        "query_pre_attn_scalar": 12,
        "layer_types": ["sliding_attention"] * 3,
    },
    "smolvlm": {"attention_bias": False, "head_dim": 8},
}


@pytest.fixture(params=KEYS)
def folders(request, tmp_path, monkeypatch):
    """The folder of a whole class, and one of its language model alone."""
    kind = request.param
    for key, value in KEYS[kind].items():
        monkeypatch.setitem(TEXT_KEYS, key, value)
    whole = whole_folder(tmp_path / "whole", kind)
    config = read_config(whole, trust_remote_code=False)
    decoder = decoder_name(config)
    tensors = whole_model(kind, torch.float32, **TEXT_KEYS).state_dict()
    own = {
        f"model{name.removeprefix(decoder)}" if name.startswith(decoder) else name: tensor
        for name, tensor in tensors.items()
        if name.startswith((f"{decoder}.", "lm_head."))
    }
    text = AutoConfig.for_model(**config_alone(config).to_dict())
    model = AutoModelForCausalLM.from_config(text)
    model.load_state_dict(own)
    alone = tmp_path / "alone"
    model.save_pretrained(alone)
    for path in whole.glob("*token*"):
        shutil.copy(path, alone)
    shutil.copy(whole / "chat_template.jinja", alone)
    return kind, whole, alone


def contents(path):
    reader = GGUFReader(path)
    fields = {key: field.contents() for key, field in reader.fields.items()}
    for key in ("GGUF.tensor_count", "general.name"):
        fields.pop(key, None)
    return fields, {t.name: np.array(t.data) for t in reader.tensors}


def assert_same_file(a, b):
    (fields, tensors), (others, expected) = contents(a), contents(b)
    assert fields == others
    assert tensors.keys() == expected.keys()
    for name, data in expected.items():
        assert np.array_equal(tensors[name], data), name


def test_the_models_file_is_that_of_the_language_model_alone(folders, tmp_path):
    _, whole, alone = folders
    made = [write_model(f, tmp_path / f"{f.name}.gguf").path for f in (whole, alone)]
    assert_same_file(*made)


def test_so_is_an_adapters_file(folders, tmp_path):
    kind, whole, alone = folders
    written = []
    for folder in (whole, alone):
        if folder == whole:
            model = whole_model(kind, torch.float32, **TEXT_KEYS)
            remove_towers_(model)
        else:
            model = AutoModelForCausalLM.from_pretrained(alone, dtype=torch.float32)
        engine = prepare_(model)
        adapter = table.attach(engine, LoraSettings(rank=2), name="a")
        generator = torch.Generator().manual_seed(0)
        for parameter in adapter.parameters.values():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        store.save(tmp_path / f"{folder.name}-adapter", adapter, engine, base="tiny")
        path = tmp_path / f"{folder.name}-adapter.gguf"
        written.append(write_adapter(tmp_path / f"{folder.name}-adapter", folder, path).path)
    assert_same_file(*written)


def test_one_that_llama_cpp_lacks_is_refused(tmp_path):
    folder = whole_folder(tmp_path / "base", "gemma4")
    with pytest.raises(ModelError, match="of type 'gemma4_text' cannot be written as GGUF"):
        write_model(folder, tmp_path / "m.gguf")
