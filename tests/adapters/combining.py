"""Adapters of other ranks, scales and targets over one tiny base, and what each adds, by hand."""

import json
import math

import peft
import torch
from safetensors.torch import load_file, save_file

from tests.adapters.test_store import randomise
from tests.families import tiny_model
from tunesmith.adapters import store
from tunesmith.adapters.folder import record_files
from tunesmith.adapters.sources import read
from tunesmith.config.methods import LoraSettings
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.methods.adapter import PREFIX

LAYERS = [
    *(f"model.layers.{i}.self_attn.{n}_proj" for i in range(3) for n in "qkvo"),
    *(f"model.layers.{i}.mlp.{n}_proj" for i in range(3) for n in ("gate", "up", "down")),
]
# Ranks, scales, rsLoRA and targets all differ.
MIXED = {
    "plain": LoraSettings(rank=3, alpha=7),
    "rslora": LoraSettings(rank=5, alpha=2.5, rslora=True),
    "patterns": LoraSettings(
        rank=2,
        alpha=6,
        rank_pattern={"o_proj": 4},
        alpha_pattern={"model.layers.1.*": 1},
        targets=["q_proj", "o_proj", "up_proj"],
    ),
}
# PEFT combines entry by entry only adapters of one rank.
SAME_RANK = {
    "plain": LoraSettings(rank=4, alpha=7),
    "other scale": LoraSettings(rank=4, alpha=2),
    "third": LoraSettings(rank=4, alpha=4),
}


def make(folder, variants, *, dtype=torch.float64, family="llama", base="tiny"):
    """Folders of random adapters, in float64, by name."""
    engine = prepare_(tiny_model(family, torch.float32))
    folders = {}
    for seed, (name, settings) in enumerate(variants.items()):
        folders[name] = folder / name
        adapter = table.attach(engine, settings, name=name, seed=seed)
        randomise(adapter)
        for parameter in adapter.trained.values():  # each adapter another one
            parameter.data.mul_(torch.rand(parameter.shape, generator=generator(seed)) + 0.5)
        adapter.refresh()
        store.save(folders[name], adapter, engine, base=base)
        adapter.detach()
        change_tensors(folders[name], lambda name, tensor: tensor.to(dtype))
    return folders


def generator(seed):
    return torch.Generator().manual_seed(seed)


def change_tensors(folder, change):
    path = folder / store.TENSORS
    tensors = {name: change(name, tensor) for name, tensor in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    record_files(folder)


def change_config(folder, **changes):
    path = folder / store.CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def expected(folder, settings):
    """s B A by layer in float64, from the file and the settings alone."""
    tensors, deltas = load_file(folder / store.TENSORS), {}
    for layer in LAYERS:
        if (key := f"{PREFIX}{layer}.lora_A.weight") in tensors:
            a, b = tensors[key].double(), tensors[key.replace("_A.", "_B.")].double()
            alpha = settings.alpha
            if settings.alpha_pattern and ".layers.1." in layer:
                alpha = settings.alpha_pattern["model.layers.1.*"]
            rank = a.shape[0]
            deltas[layer] = alpha / (math.sqrt(rank) if settings.rslora else rank) * b @ a
    return deltas


def all_expected(folders, variants):
    return [expected(folders[name], variants[name]) for name in variants]


def sources(folders):
    return [read(folder) for folder in folders.values()]


def peft_model(folders, *, dtype=torch.float64, family="llama"):
    """A model of PEFT's with all adapters loaded."""
    model = tiny_model(family, dtype)
    first, *rest = folders
    model = peft.PeftModel.from_pretrained(
        model, folders[first], adapter_name=first, autocast_adapter_dtype=False
    )
    for name in rest:
        model.load_adapter(folders[name], adapter_name=name, autocast_adapter_dtype=False)
    return model


def peft_deltas(model, name):
    """What PEFT adds to each layer."""
    base = model.base_model.model
    found = {}
    for layer in LAYERS:
        module = base.get_submodule(layer)
        if name in getattr(module, "lora_A", {}):
            found[layer] = module.get_delta_weight(name).double()
    return found


def whole(deltas, layer):
    """One layer's matrices of all adapters that have it."""
    return [each[layer] for each in deltas if layer in each]


def deltas(combination):
    """Layer and delta of a combination, one after the other."""
    return ((layer, combination.delta(layer)) for layer in combination.layers)
