"""What an adapter adds is read as it was made, and what is no sum is refused with the way out."""

import dataclasses

import pytest
import torch

from tests import variants
from tests.adapters.combining import (
    MIXED,
    change_config,
    change_tensors,
    expected,
    generator,
    make,
    sources,
)
from tests.families import tiny_model
from tunesmith.adapters import store
from tunesmith.adapters.folder import Origin, write_origin
from tunesmith.adapters.sources import read, require_alike
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table
from tunesmith.methods.adapter import Words


@pytest.mark.parametrize("variant", MIXED)
def test_each_layer_is_read_with_its_own_scale(variant, tmp_path):
    folder = make(tmp_path, MIXED)[variant]
    source, deltas = read(folder), expected(folder, MIXED[variant])
    assert source.shapes.keys() == deltas.keys()
    for layer, delta in deltas.items():
        product = source.product(layer)
        found = product.scale * product.b @ product.a
        torch.testing.assert_close(found, delta, rtol=1e-12, atol=1e-12)
        assert source.shapes[layer].widths == tuple(delta.shape)
    assert source.product("model.layers.7.mlp.up_proj") is None


def test_a_start_that_was_taken_from_w_is_part_of_the_product(tmp_path):
    engine = prepare_(tiny_model("llama", torch.float32))
    adapter = table.attach(engine, LoraSettings(rank=3, init="pissa"), name="a")
    store.save(tmp_path / "a", adapter, engine, base="tiny")
    source = read(tmp_path / "a")
    assert all(shape.rank == 6 for shape in source.shapes.values())
    assert all(source.product(layer).norm() < 1e-5 for layer in source.shapes), "nothing trained"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_adapters_are_computed_with_in_32(dtype, tmp_path):
    (source,) = sources(make(tmp_path, {"plain": MIXED["plain"]}, dtype=dtype))
    assert source.dtype == dtype
    assert source.product("model.layers.0.mlp.up_proj").dtype == torch.float32


REFUSED = {
    "dora": (LoraSettings(rank=2, dora=True), "DoRA scales the rows", "Merge it into its base"),
    "prompt": (variants.VARIANTS["prompt"], "adds nothing to the weights", "train a LoRA"),
    "p-tuning": (variants.VARIANTS["p-tuning"], "adds nothing to the weights", "train a LoRA"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_sum_with_the_base_is_refused_with_the_way_out(kind, tmp_path):
    settings, message, remedy = REFUSED[kind]
    engine = prepare_(tiny_model("llama", torch.float32))
    words = Words(init_text=variants.TEXT)
    adapter = table.attach(engine, settings, name="a", words=words)
    store.save(tmp_path / "a", adapter, engine, base="tiny")
    with pytest.raises(AdapterError, match=message) as refusal:
        read(tmp_path / "a")
    assert remedy in refusal.value.remedy


def test_trained_rows_of_tokens_are_refused(tmp_path):
    engine = prepare_(tiny_model("llama", torch.float32))
    words = Words({97: (4, 9), 98: (5,)})
    adapter = table.attach(engine, LoraSettings(rank=2), name="a", words=words)
    store.save(tmp_path / "a", adapter, engine, base="tiny")
    with pytest.raises(AdapterError, match=r"rows for 2 tokens of its own.*do not add up"):
        read(tmp_path / "a")


def test_values_that_are_not_finite_are_refused_where_they_are_read(tmp_path):
    folder = make(tmp_path, {"plain": MIXED["plain"]})["plain"]
    change_tensors(folder, lambda n, t: t / 0 if ".1.mlp.up_proj.lora_B" in n else t)
    source = read(folder)
    source.product("model.layers.0.mlp.up_proj")
    with pytest.raises(AdapterError, match=r"layers.1.mlp.up_proj holds values that are not fin"):
        source.product("model.layers.1.mlp.up_proj")


def test_adapters_of_other_bases_are_refused_by_hash_by_name_and_by_width(tmp_path):
    folders = make(tmp_path, {"plain": MIXED["plain"], "rslora": MIXED["rslora"]})
    first, second = folders.values()
    require_alike(sources(folders))
    change_config(second, base_model_name_or_path="other")
    with pytest.raises(AdapterError, match=r"plain names 'tiny'.*rslora names 'other'") as e:
        require_alike(sources(folders))
    assert "--force" in e.value.remedy
    require_alike(sources(folders), trust_bases=True)
    origin = Origin("tiny", "0123", "lora")
    write_origin(first, origin)
    write_origin(second, origin)
    require_alike(sources(folders))  # one base under two names: its hash counts
    write_origin(second, dataclasses.replace(origin, sha256="4567"))
    for trusted in (False, True):  # hashes are not a matter of names
        with pytest.raises(AdapterError, match=r"'tiny' \(0123\).*'tiny' \(4567\)") as e:
            require_alike(sources(folders), trust_bases=trusted)
        assert "--force" not in e.value.remedy
    for folder, template in ((first, "a"), (second, "b")):
        parts = {"weights": "89ab", "tokenizer": template, "config": "cd"}
        write_origin(folder, dataclasses.replace(origin, sha256=template, parts=parts))
    require_alike(sources(folders))  # what is added up are weights


def test_every_pair_is_compared(tmp_path):
    """The first adapter tells no hash, and the others tell different ones."""
    folders = list(make(tmp_path, MIXED).values())
    for folder, sha256 in zip(folders[1:], ("0123", "4567"), strict=True):
        write_origin(folder, Origin("tiny", sha256, "lora"))
    require_alike([read(folder) for folder in folders[:2]])
    with pytest.raises(AdapterError, match=r"rslora names .*0123.*patterns names .*4567"):
        require_alike([read(folder) for folder in folders])


def test_adapters_of_other_widths_are_refused_with_every_layer(tmp_path):
    folders = make(tmp_path, {"plain": MIXED["plain"], "rslora": MIXED["rslora"]})
    change_tensors(
        folders["rslora"],
        lambda n, t: (
            torch.randn(t.shape[0] + 1, 5, generator=generator(0)) if "up_proj.lora_B" in n else t
        ),
    )
    with pytest.raises(AdapterError, match=r"up_proj is \[48, 32\] in .*plain, \[49, 32\] in") as e:
        require_alike(sources(folders), trust_bases=True)
    assert e.value.message.count("up_proj") == 3


def test_a_regular_expression_or_part_of_the_layers_is_no_list_of_last_names(tmp_path):
    folder = make(tmp_path, {"plain": MIXED["plain"]})["plain"]
    assert "up_proj" in read(folder).leaves
    for changes in (
        {"target_modules": r".*\.up_proj"},
        {"target_modules": ["up_proj"], "layers_to_transform": [1]},
        {"target_modules": ["layers.1.mlp.up_proj"], "layers_to_transform": None},
    ):
        change_config(folder, **changes)
        assert read(folder).leaves is None
