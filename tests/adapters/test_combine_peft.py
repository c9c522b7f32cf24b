"""Equal to PEFT's add_weighted_adapter where that is right; where it is not, the true value."""

import warnings

import pytest
import torch

from tests.adapters.combining import (
    MIXED,
    SAME_RANK,
    all_expected,
    deltas,
    expected,
    make,
    peft_deltas,
    peft_model,
    sources,
    whole,
)
from tests.adapters.test_store import theirs as theirs_logits
from tunesmith.adapters.combine_rules import Linear, rule
from tunesmith.adapters.combined import Combination, Fit, fitted
from tunesmith.adapters.sources import read
from tunesmith.config.methods import LoraSettings
from tunesmith.core.errors import AdapterError

CLOSE = {"rtol": 1e-6, "atol": 1e-7}  # PEFT keeps weights in float32
FULL = 48  # a rank at which nothing is cut


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mixed"), MIXED)


@pytest.fixture(scope="module")
def same_rank(tmp_path_factory):
    return make(tmp_path_factory.mktemp("same"), SAME_RANK)


def ours(folders, weights, method, fit=None):
    combination = Combination(sources(folders), weights, method)
    found = dict(deltas(combination))
    if fit is not None:
        found = {layer: fitted(delta, fit) for layer, delta in found.items()}
    return {layer: delta.rows(0, delta.shape[0]) for layer, delta in found.items()}


def theirs(folders, weights, kind, **options):
    model = peft_model(folders)
    if kind.endswith("svd"):  # else a rank above a layer's smaller side does not work
        options = {"svd_full_matrices": False, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a density of 1
        model.add_weighted_adapter(list(folders), weights, "new", combination_type=kind, **options)
    return peft_deltas(model, "new")


def assert_same(found, right, **close):
    assert found.keys() == right.keys()
    for layer, matrix in found.items():
        torch.testing.assert_close(matrix, right[layer], **(close or CLOSE))


def distance(found, right):
    lost = sum(float((found[n] - right[n]).norm()) ** 2 for n in right)
    return (lost / sum(float(right[n].norm()) ** 2 for n in right)) ** 0.5


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, -0.8, 2.0]])
def test_linear_is_pefts_cat(weights, mixed):
    assert_same(ours(mixed, weights, Linear()), theirs(mixed, weights, "cat"))


@pytest.mark.parametrize("rank", [2, 5, FULL])
def test_linear_at_a_rank_is_pefts_svd(rank, mixed):
    weights = [0.5, -0.8, 2.0]
    found = ours(mixed, weights, Linear(), Fit(rank=rank, dtype=torch.float64))
    right = theirs(mixed, weights, "svd", svd_rank=rank)
    assert_same(found, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("density", [0.2, 0.7])
def test_magnitude_is_pefts_magnitude_prune_svd(density, mixed):
    weights = [0.5, 0.8, 2.0]
    right = theirs(mixed, weights, "magnitude_prune_svd", density=density, svd_rank=32)
    assert_same(ours(mixed, weights, rule("magnitude", density)), right)


@pytest.mark.parametrize("signs", ["total", "frequency"])
@pytest.mark.parametrize("density", [0.2, 1.0])
def test_ties_of_equal_weights_is_pefts_ties_svd(density, signs, mixed):
    weights = [0.7, 0.7, 0.7]
    found = ours(mixed, weights, rule("ties", density, signs))
    right = theirs(
        mixed, weights, "ties_svd", density=density, svd_rank=32, majority_sign_method=signs
    )
    if signs == "total":
        assert_same(found, right)
        return
    # Counts of signs balance often; PEFT then keeps the positive value, the paper none.
    for layer, matrix in found.items():
        elected = matrix != 0
        torch.testing.assert_close(matrix[elected], right[layer][elected], **CLOSE)
        assert (right[layer][~elected] > -1e-6).all()


def test_dare_keeps_the_same_share_as_pefts_and_scales_alike(mixed):
    """The draws differ; with everything kept both are the sum, and the mean."""
    weights = [0.7, 0.7, 0.7]
    for method, kind in (
        (rule("dare", 1.0), "dare_linear_svd"),
        (rule("dare-ties", 1.0), "dare_ties_svd"),
    ):
        right = theirs(mixed, weights, kind, density=1.0, svd_rank=32)
        assert_same(ours(mixed, weights, method), right)


def test_pefts_linear_adds_cross_terms_and_ours_does_not(same_rank):
    """PEFT sums A and B: (B1 + B2)(A1 + A2) = B1 A1 + B2 A2 + (B1 A2 + B2 A1)."""
    weights = [1.0, 1.0, 1.0]
    each = all_expected(same_rank, SAME_RANK)
    true = {layer: sum(whole(each, layer)) for layer in each[0]}
    assert_same(ours(same_rank, weights, Linear()), true, rtol=1e-12, atol=1e-12)
    wrong = theirs(same_rank, weights, "linear")
    assert distance(wrong, true) > 0.5
    scales = [variant.alpha / variant.rank for variant in SAME_RANK.values()]
    for layer, matrix in wrong.items():
        products = [source.product(layer) for source in sources(same_rank)]
        a = sum(s**0.5 * p.a for s, p in zip(scales, products, strict=True))
        b = sum(s**0.5 * p.b for s, p in zip(scales, products, strict=True))
        torch.testing.assert_close(matrix, b @ a, **CLOSE)


def test_pefts_linear_of_an_adapter_with_itself_is_twice_too_much(same_rank):
    folder = same_rank["plain"]
    twice = {"one": folder, "two": folder}
    true = {n: 2 * d for n, d in expected(folder, SAME_RANK["plain"]).items()}
    assert_same(ours(twice, [1.0, 1.0], Linear()), true, rtol=1e-12, atol=1e-12)
    assert_same(theirs(twice, [1.0, 1.0], "linear"), {n: 2 * d for n, d in true.items()})


ON_FACTORS = {
    "ties": (rule("ties", 0.5), 0.5),
    "magnitude_prune": (rule("magnitude", 0.5), 0.5),
    "dare_linear": (rule("dare", 1.0), 1.0),  # nothing is drawn, so that the two can be compared
    "dare_ties": (rule("dare-ties", 1.0), 1.0),
}


@pytest.mark.parametrize("kind", ON_FACTORS)
def test_pefts_pruning_of_a_and_b_is_not_that_of_the_product(kind, same_rank):
    weights, (method, density) = [1.0, 1.0, 1.0], ON_FACTORS[kind]
    true = ours(same_rank, weights, method)
    wrong = theirs(same_rank, weights, kind, density=density)
    assert_same(true, theirs(same_rank, weights, f"{kind}_svd", density=density, svd_rank=32))
    assert distance(wrong, true) > 0.5


def test_pefts_svd_of_a_rank_above_a_layers_smaller_side_does_not_work(mixed):
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        theirs(mixed, [1.0, 1.0, 1.0], "svd", svd_rank=32, svd_full_matrices=True)
    assert ours(mixed, [1.0, 1.0, 1.0], Linear(), Fit(rank=32))


@pytest.mark.parametrize("kind", ["cat", "svd", "linear"])
def test_pefts_result_of_an_rslora_adapter_first_is_scaled_wrongly(kind, tmp_path):
    """The new config keeps use_rslora and gets alpha = r: scale sqrt(r), where 1 is meant."""
    variants = {"rslora": LoraSettings(rank=4, alpha=3, rslora=True), "plain": SAME_RANK["plain"]}
    folders = make(tmp_path, variants)
    each = all_expected(folders, variants)
    true = {layer: sum(whole(each, layer)) for layer in each[0]}
    assert_same(ours(folders, [1.0, 1.0], Linear()), true, rtol=1e-12, atol=1e-12)
    rank = 8 if kind == "cat" else 4
    right_side = {"plain": folders["plain"], "rslora": folders["rslora"]}
    unscaled = theirs(right_side, [1.0, 1.0], kind)  # a plain one first: scale 1
    wrong = theirs(folders, [1.0, 1.0], kind)
    assert_same(wrong, {n: rank**0.5 * d for n, d in unscaled.items()}, rtol=1e-5, atol=1e-5)
    if kind == "cat":
        assert_same(unscaled, true)


def test_pefts_signs_are_elected_without_the_weights(same_rank):
    """Of D1 - D2 it elects the sign of D1 + D2: what is taken away counts as agreement."""
    pair = {name: same_rank[name] for name in ("plain", "other scale")}
    layer = "model.layers.0.mlp.up_proj"
    one, two = (expected(pair[name], SAME_RANK[name])[layer] for name in pair)
    true = ours(pair, [1.0, -1.0], rule("ties", 1.0))[layer]
    wrong = theirs(pair, [1.0, -1.0], "ties_svd", density=1.0, svd_rank=32)[layer]
    alike = one.sign() == two.sign()  # so D1 and -D2 pull apart, and the larger one wins
    larger = torch.where(one.abs() > two.abs(), one, -two)
    torch.testing.assert_close(true[alike], larger[alike], **CLOSE)
    torch.testing.assert_close(wrong[alike], ((one - two) / 2)[alike], **CLOSE)


def test_pefts_ranks_must_agree_where_ours_need_not(mixed):
    for kind in ("linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"):
        with pytest.raises(ValueError, match="same r value"):
            theirs(mixed, [1.0, 1.0, 1.0], kind, density=0.5)


def test_pefts_combination_of_one_dora_adapter_is_not_that_adapter(tmp_path):
    """It makes a new magnitude from W, and leaves the trained one out; here DoRA is refused."""
    (folder,) = make(tmp_path, {"dora": LoraSettings(rank=3, alpha=7, dora=True)}).values()
    model = peft_model({"dora": folder}).eval()
    right = theirs_logits(model)
    model.add_weighted_adapter(["dora"], [1.0], "new", combination_type="cat")
    model.set_adapter("new")
    assert (theirs_logits(model) - right).abs().max() > 0.1 * right.abs().max()
    with pytest.raises(AdapterError, match="DoRA"):
        read(folder)
