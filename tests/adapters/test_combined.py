"""A combination is saved as a LoRA that PEFT and we read as what was combined, error told."""

import json
import weakref

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.adapters.combining import (
    LAYERS,
    MIXED,
    all_expected,
    deltas,
    make,
    peft_deltas,
    peft_model,
    sources,
    whole,
)
from tests.adapters.test_merge import plain
from tests.adapters.test_store import ours, randomise, theirs
from tests.counting import Counting
from tests.families import tiny_model
from tests.models.tiny import tiny_folder
from tunesmith.adapters import combine_rules, combined, merge, store
from tunesmith.adapters.combine_rules import Knots, Linear, rule
from tunesmith.adapters.combined import Combination, Fit
from tunesmith.adapters.folder import CARD, Origin, read_origin, write_origin
from tunesmith.adapters.sources import read
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError, ConfigError
from tunesmith.engine.forward import prepare_
from tunesmith.methods import table as methods
from tunesmith.models.load import load_base

WEIGHTS = [0.7, -1.3, 2.0]


pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mixed"), MIXED)


@pytest.fixture(scope="module")
def total(folders):
    """The weighted sum by layer."""
    found = [
        {layer: weight * delta for layer, delta in each.items()}
        for each, weight in zip(all_expected(folders, MIXED), WEIGHTS, strict=True)
    ]
    return {layer: sum(whole(found, layer)) for layer in LAYERS}


def combination(folders, method=None):
    return Combination(sources(folders), WEIGHTS, method or Linear())


def test_peft_and_we_read_the_exact_sum(folders, total, tmp_path):
    done = combined.save(tmp_path / "out", combination(folders), Fit())
    assert done.errors.overall < 1e-14
    assert done.ranks["model.layers.0.mlp.up_proj"] == 3 + 5 + 2
    assert done.ranks["model.layers.0.mlp.down_proj"] == 3 + 5
    assert done.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    again = read(tmp_path / "out")
    by_peft = peft_deltas(peft_model({"new": tmp_path / "out"}), "new")
    assert again.shapes.keys() == by_peft.keys() == total.keys()
    for layer, delta in total.items():
        product = again.product(layer)
        torch.testing.assert_close(product.rows(0, delta.shape[0]), delta, rtol=0, atol=1e-12)
        torch.testing.assert_close(by_peft[layer], delta, rtol=0, atol=1e-12)


def test_every_layer_is_counted_before_its_work(folders, tmp_path):
    both, phase = combination(folders), Counting()
    combined.save(tmp_path / "out", both, Fit(), phase=phase)
    assert phase.told == [(done, len(both.layers)) for done in range(len(both.layers))]


@pytest.mark.parametrize("rank", [1, 4])
def test_at_a_rank_the_error_is_stated_by_layer_and_overall(rank, folders, total, tmp_path):
    done = combined.save(tmp_path / "out", combination(folders), Fit(rank=rank))
    lost = squares = 0.0
    for layer, found in peft_deltas(peft_model({"new": tmp_path / "out"}), "new").items():
        right = total[layer]
        assert done.ranks[layer] == rank
        best = torch.linalg.svdvals(right)[rank:].norm()
        assert float((found - right).norm()) == pytest.approx(float(best), rel=1e-9)
        assert done.errors.layers[layer] == pytest.approx(float(best / right.norm()), rel=1e-9)
        lost, squares = lost + float(best) ** 2, squares + float(right.norm()) ** 2
    assert done.errors.overall == pytest.approx((lost / squares) ** 0.5)


@pytest.mark.parametrize("exact", [False, True])
def test_a_dense_result_is_cut_to_a_rank_with_the_error_stated(exact, folders, tmp_path):
    both = combination(folders, rule("ties", 0.5))
    done = combined.save(tmp_path / "out", both, Fit(rank=6, exact=exact))
    new = read(tmp_path / "out")
    for layer, delta in deltas(both):
        best = float(torch.linalg.svdvals(delta.matrix)[6:].norm())
        lost = float((delta.matrix - new.product(layer).rows(0, delta.shape[0])).norm())
        assert done.errors.layers[layer] == pytest.approx(lost / delta.norm())
        assert lost < best * (1 + (1e-9 if exact else 0.02))


def test_a_dense_result_without_a_rank_is_refused_and_nothing_is_written(folders, tmp_path):
    with pytest.raises(ConfigError, match="dense") as refusal:
        combined.save(tmp_path / "out", combination(folders, rule("ties")), Fit())
    assert "rank" in refusal.value.remedy
    assert not (tmp_path / "out").exists()


def test_in_shared_directions_no_rank_is_needed(folders, tmp_path):
    done = combined.save(tmp_path / "out", combination(folders, Knots()), Fit())
    assert done.errors.overall < 1e-14
    assert done.ranks["model.layers.0.mlp.up_proj"] == 10


def test_one_adapter_with_weight_1_keeps_its_tensors_to_the_last_bit(folders, tmp_path):
    for name, path in folders.items():
        combined.save(tmp_path / name, Combination([read(path)], [1.0]), Fit())
        before, after = load_file(path / store.TENSORS), load_file(tmp_path / name / store.TENSORS)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
        old, new = read(path), read(tmp_path / name)
        for layer, shape in old.shapes.items():
            assert new.shapes[layer].scale == pytest.approx(shape.scale, rel=1e-15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_number_format_is_the_adapters_and_its_rounding_is_in_the_error(dtype, tmp_path):
    folders = make(tmp_path, MIXED, dtype=dtype)
    done = combined.save(tmp_path / "out", combination(folders), Fit())
    assert read(tmp_path / "out").dtype == dtype
    eps = torch.finfo(dtype).eps
    assert eps / 100 < done.errors.overall < eps
    wide = combined.save(tmp_path / "wide", combination(folders), Fit(dtype=torch.float32))
    assert wide.errors.overall < 1e-7


def test_what_was_combined_lies_beside_it(folders, tmp_path):
    for path in list(folders.values())[:2]:
        write_origin(path, Origin("tiny", "0123", "lora"))
    combined.save(tmp_path / "out", combination(folders), Fit(rank=2))
    assert read_origin(tmp_path / "out") == Origin("tiny", "0123", "lora")
    beside = json.loads((tmp_path / "out" / "tunesmith.json").read_text())["combined"]
    assert [each["weight"] for each in beside["adapters"]] == WEIGHTS
    assert beside["method"] == {"kind": "linear"}
    card = (tmp_path / "out" / CARD).read_text()
    assert "- -1.3 x rslora\n" in card
    assert f"{beside['error']:.2e}" in card


def test_a_folder_that_is_there_is_not_replaced(folders, tmp_path):
    with pytest.raises(AdapterError, match="exists already"):
        combined.save(folders["plain"], combination(folders), Fit())


def test_attached_to_the_base_it_gives_the_logits_that_peft_gives(folders, tmp_path):
    combined.save(tmp_path / "out", combination(folders), Fit(rank=4, dtype=torch.float32))
    engine = prepare_(tiny_model("llama", torch.float32))
    store.load(engine, tmp_path / "out", name="a")
    model = peft_model({"new": tmp_path / "out"}, dtype=torch.float32)
    torch.testing.assert_close(ours(engine, "a"), theirs(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", [Linear(), rule("ties", 0.5)])
def test_merged_into_the_base_without_a_rank_nothing_is_lost(method, folders):
    engine = prepare_(tiny_model("llama", torch.float32))
    both = combination(folders, method)
    tensors = dict(merge.changed(engine, both.changes(engine)))
    base = tiny_model("llama", torch.float32).state_dict()
    for layer, delta in deltas(both):
        right = base[f"{layer}.weight"].double() + delta.rows(0, delta.shape[0])
        torch.testing.assert_close(tensors[f"{layer}.weight"].double(), right, rtol=0, atol=1e-6)
    changed = {f"{layer}.weight" for layer in both.layers}
    assert all(torch.equal(tensors[n], base[n]) for n in tensors.keys() - changed)
    assert theirs(plain("llama", tensors)).isfinite().all()


def test_every_method_is_described_with_its_settings():
    for kind in combine_rules.METHODS:
        assert combine_rules.described(combine_rules.made(kind))["kind"] == kind
    inner = {"kind": "dare-ties", "density": 0.3, "signs": "total"}
    assert combine_rules.described(Knots(rule("dare-ties", 0.3))) == {
        "kind": "knots",
        "rule": inner,
    }


def test_numbers_that_a_format_cannot_hold_are_refused(folders, tmp_path):
    large = Combination(sources(folders), [1e9, 1.0, 1.0])
    with pytest.raises(AdapterError, match=r"torch.float16 cannot hold"):
        combined.save(tmp_path / "out", large, Fit(dtype=torch.float16))


def test_one_or_two_dense_matrices_exist_at_a_time(folders, tmp_path, monkeypatch):
    """However many layers there are: that of the layer before goes when the next one is there."""
    alive, limit = weakref.WeakSet(), 0

    def watched(deltas, layer):
        nonlocal limit
        made = rule("ties")(deltas, layer)
        alive.add(made.matrix)
        limit = max(limit, len(alive))
        return made

    monkeypatch.setattr(combine_rules, "described", lambda _: {})
    combined.save(tmp_path / "out", combination(folders, watched), Fit(rank=2))
    assert limit in (1, 2)
    engine = prepare_(tiny_model("llama", torch.float32))
    for _ in merge.changed(engine, combination(folders, watched).changes(engine)):
        assert len(alive) <= 1


def test_adapters_of_some_layers_leave_the_others_alone(tmp_path):
    some = {
        "first": LoraSettings(rank=2, targets=["model.layers.1.*"]),
        "second": LoraSettings(rank=3, targets=["up_proj"]),
    }
    folders = make(tmp_path, some)
    combined.save(tmp_path / "out", Combination(sources(folders), [1.0, 0.5]), Fit())
    touched = {n for n in LAYERS if ".layers.1." in n or n.endswith("up_proj")}
    assert peft_deltas(peft_model({"new": tmp_path / "out"}), "new").keys() == touched
    engine = prepare_(tiny_model("llama", torch.float32))
    assert set(store.load(engine, tmp_path / "out").settings.targets) == touched


def test_a_combination_that_is_merged_loads_as_any_base_does(folders, tmp_path):
    source = tiny_folder(tmp_path / "base")
    engine = prepare_(load_base(str(source), dtype="float32", device="cpu").model)
    variants = {"a": LoraSettings(rank=2), "b": LoraSettings(rank=3, rslora=True)}
    for seed, (name, settings) in enumerate(variants.items()):
        adapter = methods.attach(engine, settings, name=name, seed=seed)
        randomise(adapter)
        store.save(tmp_path / name, adapter, engine, base="tiny")
    both = Combination([read(tmp_path / name) for name in variants], [1.0, -0.5], rule("ties", 0.5))
    origin = Origin("tiny", "0123", "lora")
    done = merge.save_changed(
        engine, both.changes(engine), merge.Target(tmp_path / "out", source=source, origin=origin)
    )
    merged = AutoModelForCausalLM.from_pretrained(done.folder).state_dict()
    for layer, delta in deltas(both):
        right = engine.linears[layer].dense() + delta.rows(0, delta.shape[0])
        torch.testing.assert_close(merged[f"{layer}.weight"], right)


def test_merging_into_another_base_is_refused(folders):
    other = prepare_(tiny_model("phi3", torch.float32))
    with pytest.raises(AdapterError, match="not made for this base"):
        combination(folders).changes(other)


def test_a_copy_is_the_same_adapter_with_a_remark_more(folders, tmp_path):
    made = combined.save(tmp_path / "made", Combination(sources(folders), WEIGHTS), Fit(rank=2))
    copied = combined.copy(made, tmp_path / "copy", remark="Chosen of 9 ways.")
    for name in (store.TENSORS, store.CONFIG):
        assert (copied.folder / name).read_bytes() == (made.folder / name).read_bytes()
    card = (copied.folder / store.CARD).read_text()
    assert card == (made.folder / store.CARD).read_text() + "\nChosen of 9 ways.\n"
    assert copied.bytes == made.bytes + len("\nChosen of 9 ways.\n")
    with pytest.raises(AdapterError, match="exists already"):
        combined.copy(made, tmp_path / "copy", remark="")
