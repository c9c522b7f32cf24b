"""Where a layer stands: bands hold every layer once, in order, and no more of them than asked."""

import math

import pytest
import torch

from tests.adapters.combining import MIXED, change_config, change_tensors, expected, generator, make
from tunesmith.adapters import products
from tunesmith.adapters.conflicts import ENERGY, bands, conflicts, depth_of, kind_of
from tunesmith.adapters.sources import read
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError

LAYERS = [
    f"model.layers.{i}.{part}" for i in range(30) for part in ("self_attn.q_proj", "mlp.down_proj")
]


def test_a_name_tells_depth_and_kind():
    assert (depth_of(LAYERS[22]), kind_of(LAYERS[22])) == (11, "q_proj")
    assert (depth_of("lm_head"), kind_of("lm_head")) == (None, "lm_head")


@pytest.mark.parametrize("limit", [1, 7, 10, 29, 30, 100])
def test_bands_hold_every_layer_once_in_order(limit):
    found = bands([*reversed(LAYERS), "lm_head"], limit=limit)
    inside = [each for each in found if each.first is not None]
    assert len(inside) <= limit
    assert sorted(layer for each in found for layer in each.layers) == sorted([*LAYERS, "lm_head"])
    assert [each.first for each in inside] == [0, *(each.last + 1 for each in inside[:-1])]
    assert (inside[-1].last, found[-1].name) == (29, "lm_head")


def test_a_band_of_one_block_has_one_number():
    assert [each.name for each in bands(LAYERS[:4], limit=9)] == ["0", "1"]
    assert [each.name for each in bands(LAYERS[:8], limit=2)] == ["0-1", "2-3"]


PAIR = ("rslora", "patterns")  # of other ranks, scales and targets
CLOSE = 1e-9


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mixed"), MIXED)


@pytest.fixture(scope="module")
def measured(folders):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "BLOCK_ENTRIES", 7 * 32)
        return conflicts(*(read(folders[name]) for name in PAIR))


@pytest.fixture(scope="module")
def dense(folders):
    return [expected(folders[name], MIXED[name]) for name in PAIR]


def cosine(one, other):
    return float((one * other).sum() / one.norm() / other.norm())


def sign_conflict(one, other):
    sizes = (one * other).abs()
    return float(sizes[one.sign() != other.sign()].sum() / sizes.sum())


def principal(matrix):
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    shares = s.square().cumsum(0) / s.square().sum()
    k = next(i for i, share in enumerate(shares, start=1) if share >= ENERGY)
    return u[:, :k], vt[:k].t(), k


def test_each_layer_is_measured_by_its_definition(measured, dense):
    assert measured.layers.keys() == dense[1].keys()
    for layer, found in measured.layers.items():
        one, other = (each[layer] for each in dense)
        assert found.cosine == pytest.approx(cosine(one, other), abs=CLOSE)
        assert found.sign_conflict == pytest.approx(sign_conflict(one, other), abs=CLOSE)
        assert found.norm_ratio == pytest.approx(float(other.norm() / one.norm()))
        (u1, v1, k1), (u2, v2, k2) = principal(one), principal(other)
        overlaps = [
            float((x.t() @ y).square().sum()) / min(k1, k2) for x, y in ((v1, v2), (u1, u2))
        ]
        assert [found.input_overlap, found.output_overlap] == pytest.approx(overlaps)
        assert found.subspace_overlap == pytest.approx(sum(overlaps) / 2)


def test_overall_is_all_layers_as_one_vector(measured, dense):
    names = sorted(dense[0].keys() | dense[1].keys())
    zeros = {name: torch.zeros_like(dense[0][name]) for name in names}
    one, other = (
        torch.cat([each.get(name, zeros[name]).flatten() for name in names]) for each in dense
    )
    overall = measured.overall
    assert overall.cosine == pytest.approx(cosine(one, other), abs=CLOSE)
    assert overall.sign_conflict == pytest.approx(sign_conflict(one, other), abs=CLOSE)
    assert overall.norm_ratio == pytest.approx(float(other.norm() / one.norm()))
    layers = measured.layers.values()
    weights = [float(dense[0][n].norm() * dense[1][n].norm()) for n in measured.layers]
    for key in ("input_overlap", "output_overlap", "chance"):
        mean = sum(w * getattr(c, key) for w, c in zip(weights, layers, strict=True))
        assert getattr(overall, key) == pytest.approx(mean / sum(weights))
    assert set(measured.only_first) == dense[0].keys() - dense[1].keys()
    assert measured.only_second == ()


def test_cosine_and_signs_are_one_story(measured, dense):
    """1 - 2 x sign conflict is <d1, d2> / <|d1|, |d2|>."""
    for layer, found in measured.layers.items():
        one, other = (each[layer] for each in dense)
        balance = float((one * other).sum() / (one.abs() * other.abs()).sum())
        assert 1 - 2 * found.sign_conflict == pytest.approx(balance, abs=CLOSE)


def test_an_adapter_agrees_with_itself_and_opposes_its_negation(folders, tmp_path):
    one = read(folders["plain"])
    for found in conflicts(one, one).layers.values():
        assert found.cosine == pytest.approx(1)
        assert found.sign_conflict == 0
        assert found.subspace_overlap == pytest.approx(1)
        assert found.norm_ratio == pytest.approx(1)
    other = make(tmp_path, {"plain": MIXED["plain"]})["plain"]
    change_tensors(other, lambda name, t: -3 * t if "lora_B" in name else t)
    for found in conflicts(one, read(other)).layers.values():
        assert found.cosine == pytest.approx(-1)
        assert found.sign_conflict == pytest.approx(1)
        assert found.subspace_overlap == pytest.approx(1)
        assert found.norm_ratio == pytest.approx(3)


def test_random_adapters_are_at_chance(tmp_path):
    settings = {name: LoraSettings(rank=3) for name in ("a", "b")}
    folders = make(tmp_path, settings)
    draws = generator(11)
    for folder in folders.values():
        change_tensors(folder, lambda _, t: torch.randn(t.shape, generator=draws).double())
    found = conflicts(*map(read, folders.values())).overall
    assert abs(found.cosine) < 0.05
    assert found.sign_conflict == pytest.approx(0.5, abs=0.05)
    assert found.subspace_overlap == pytest.approx(found.chance, rel=0.3)


def test_an_untrained_adapter_has_nothing_to_measure(folders, tmp_path):
    other = make(tmp_path, {"plain": MIXED["plain"]})["plain"]
    change_tensors(other, lambda name, t: 0 * t if "lora_B" in name else t)
    found = conflicts(read(folders["plain"]), read(other)).overall
    assert found.norm_ratio == 0
    assert all(map(math.isnan, (found.cosine, found.sign_conflict, found.subspace_overlap)))


def test_what_cannot_be_compared_is_refused(folders, tmp_path):
    some = {"a": LoraSettings(rank=2, targets=["q_proj"]), "b": LoraSettings(targets=["v_proj"])}
    apart = make(tmp_path, some)
    with pytest.raises(AdapterError, match=r"no layer in common \(one has .*q_proj"):
        conflicts(*map(read, apart.values()))
    change_config(apart["a"], base_model_name_or_path="other")
    with pytest.raises(AdapterError, match="different bases"):
        conflicts(read(folders["plain"]), read(apart["a"]))


def test_layers_together_are_one_matrix(folders):
    """All of them are the whole, one of them is that one, and halves lie around the whole."""
    found = conflicts(read(folders["plain"]), read(folders["rslora"]))
    whole, names = found.together(found.layers), list(found.layers)
    assert whole == found.overall
    for name in names:
        assert found.together([name]).cosine == pytest.approx(found.layers[name].cosine)
    halves = [found.together(names[:9]).sign_conflict, found.together(names[9:]).sign_conflict]
    assert min(halves) <= whole.sign_conflict <= max(halves)
