"""The shape read from a config alone is that of the model which transformers makes of it."""

import json

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.families import FAMILIES, SHAPE
from tests.whole import KINDS, whole_config
from tunesmith.core.errors import ModelError
from tunesmith.engine.config_shape import _defaults, shape_of
from tunesmith.engine.families import layer_keys, layer_windows
from tunesmith.models.text_part import empty_model


def config_of(family, **settings):
    return AutoConfig.for_model(family, **{**SHAPE, **FAMILIES[family], **settings})


def saved(config):
    """As a folder's config.json has it."""
    return json.loads(config.to_json_string())


def linears_of(model):
    head = model.get_output_embeddings()
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not head:
            found[name] = (module.in_features, module.out_features, module.bias is not None)
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_the_shape_of_its_model(family):
    config = config_of(family)
    model, shape = empty_model(config), shape_of(saved(config))
    assert shape.parameters == sum(p.numel() for p in model.parameters())
    decoder = model.get_decoder()
    for layer, module in zip(shape.layers, decoder.layers, strict=True):
        assert layer.parameters == sum(p.numel() for p in module.parameters())
    mine = {n: (each.inputs, each.outputs, each.bias) for n, each in shape.named_linears()}
    assert mine == linears_of(model)
    assert [layer.window for layer in shape.layers] == layer_windows(config)
    keys = [(k.heads, k.width) if k.heads else (0, 0) for k in layer_keys(config)]
    found = [(s.key_heads, s.head_width if s.heads else 0) for s in shape.layers]
    assert found == keys
    named = dict(model.named_parameters())
    for name, each in shape.named_experts():
        stack = named[name]
        assert stack.numel() == each.weights
        assert {each.inputs, each.outputs, each.count} >= set(stack.shape)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_class_has_the_shape_of_its_text_part(kind):
    config = whole_config(kind)
    shape = shape_of(saved(config))
    assert shape.parameters == sum(p.numel() for p in empty_model(config).parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_config_leaves_out_is_as_in_transformers(family):
    of_class = CONFIG_MAPPING[family]
    for key, value in _defaults()[family].items():
        named = key if hasattr(of_class, key) else "num_local_experts"
        assert getattr(of_class, named) == value, key
    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "vocab_size": 300, "pad_token_id": 0}
    sizes |= {"bos_token_id": 1, "eos_token_id": 2}
    if family == "granitemoehybrid":
        sizes |= {"mamba_n_heads": 8, "mamba_d_head": 16}
    if family == "gemma4_text":
        sizes |= {"vocab_size_per_layer_input": 300}
    if family == "gemma3n_text":
        sizes |= {"num_kv_shared_layers": 0}
    if family == "ministral":  # whose class divides by none
        sizes |= {"head_dim": 16}
    config = AutoConfig.for_model(family, **sizes)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert shape_of({"model_type": family, **sizes}).parameters == sum(
        p.numel() for p in model.parameters()
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "has no model_type"),
        ({"model_type": "llama", "hidden_size": 64}, "it has no num_hidden_layers"),
        (
            {"model_type": "llama", "hidden_size": -1, "num_hidden_layers": 0},
            "hidden_size and num_hidden_layers must be whole numbers above 0",
        ),
        ({"model_type": "bert", "hidden_size": 64}, "the shape of model_type 'bert' is not known"),
        (
            {
                **{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2},
                "quantization_config": {"quant_method": "gptq"},
            },
            "already quantized (gptq)",
        ),
    ],
)
def test_a_config_that_describes_no_base_is_refused(config, words):
    with pytest.raises(ModelError) as caught:
        shape_of(config)
    assert words in str(caught.value)


def test_a_window_that_is_null_is_none():
    config = {**SHAPE, "model_type": "mistral", "head_dim": 12}
    assert {layer.window for layer in shape_of(config).layers} == {4096}
    assert {layer.window for layer in shape_of({**config, "sliding_window": None}).layers} == {None}
