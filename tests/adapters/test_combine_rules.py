"""Each method on B A equals its reference in float64, for mixed ranks, scales and targets."""

import numpy as np
import pytest
import torch

from tests.adapters import combine_references as references
from tests.adapters.combining import MIXED, all_expected, deltas, make, sources, whole
from tunesmith.adapters import combine_rules, products
from tunesmith.adapters.combine_rules import RULES, Knots, Linear, MergeLayer, align, rule
from tunesmith.adapters.combined import Combination
from tunesmith.core.errors import ConfigError, UsageError

WEIGHTS = {"plain": 0.7, "rslora": -1.3, "patterns": 2.0}  # one is taken away
EXACT = {
    "linear": (Linear(), references.linear, {}),
    "magnitude": (rule("magnitude", 0.3), references.magnitude, {"density": 0.3}),
    "ties": (rule("ties", 0.4), references.ties, {"density": 0.4}),
    "ties, untrimmed": (rule("ties", 1.0), references.ties, {"density": 1.0}),
    "ties, frequency": (
        rule("ties", 0.6, signs="frequency"),
        references.ties,
        {"density": 0.6, "signs": "frequency"},
    ),
    "sce": (rule("sce", 0.3), references.sce, {"density": 0.3}),
    "sce, unselected": (rule("sce", 1.0), references.sce, {"density": 1.0}),
}
CLOSE = {"rtol": 1e-9, "atol": 1e-11}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return make(tmp_path_factory.mktemp("mixed"), MIXED)


@pytest.fixture(scope="module")
def weighted(folders):
    """Each adapter's products times its weight, by layer."""
    found = all_expected(folders, MIXED)
    return [
        {layer: weight * delta for layer, delta in each.items()}
        for each, weight in zip(found, WEIGHTS.values(), strict=True)
    ]


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks of rows in every tiny layer."""
    monkeypatch.setattr(products, "BLOCK_ENTRIES", 7 * 32)


def combined(folders, method, seed=0):
    combination = Combination(sources(folders), list(WEIGHTS.values()), method, seed)
    return {layer: delta.rows(0, delta.shape[0]) for layer, delta in deltas(combination)}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", EXACT)
def test_a_method_equals_its_reference_on_b_a(name, folders, weighted):
    method, reference, settings = EXACT[name]
    found = combined(folders, method)
    assert len(found) == 21
    for layer, matrix in found.items():
        matrices = [each.numpy() for each in whole(weighted, layer)]
        right = reference(matrices, **settings, absent=len(WEIGHTS) - len(matrices))
        np.testing.assert_allclose(matrix.numpy(), right, **CLOSE)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", [name for name in EXACT if name != "linear"])
def test_in_shared_directions_a_rule_equals_its_reference_there(name, folders, weighted):
    """Singular vectors have either sign, which every rule leaves alone."""
    method, reference, settings = EXACT[name]
    for layer, matrix in combined(folders, Knots(method)).items():
        u, parts = references.aligned([each.numpy() for each in whole(weighted, layer)])
        right = u @ reference(parts, **settings, absent=len(WEIGHTS) - len(parts))
        np.testing.assert_allclose(matrix.numpy(), right, rtol=1e-7, atol=1e-9)


def test_what_is_aligned_is_each_product_in_shared_directions(folders):
    layer = "model.layers.1.self_attn.o_proj"
    each = [source.product(layer) for source in sources(folders)]
    u, parts = align(each)
    assert u.shape == (32, 3 + 5 + 4)
    torch.testing.assert_close(u.t() @ u, torch.eye(12, dtype=u.dtype), **CLOSE)
    for product, part in zip(each, parts, strict=True):
        torch.testing.assert_close(u @ part.matrix, product.rows(0, 32), **CLOSE)


def test_aligning_the_same_adapter_twice_needs_no_more_directions(folders):
    product = sources(folders)[0].product("model.layers.1.self_attn.o_proj")
    u, _ = align([product, product.times(-2)])
    assert u.shape[1] == 3


@pytest.mark.usefixtures("small_blocks")
def test_dare_keeps_a_share_scales_it_up_and_is_right_on_average(folders, weighted):
    layer = "model.layers.1.mlp.up_proj"
    matrices = whole(weighted, layer)
    each = [
        source.product(layer).times(weight)
        for source, weight in zip(sources(folders), WEIGHTS.values(), strict=True)
    ]
    draws = []
    for seed in range(300):
        one = rule("dare", 0.4)(each[:1], MergeLayer(layer, 3, seed)).matrix
        kept = one != 0
        assert 0.3 < kept.double().mean() < 0.5
        torch.testing.assert_close(one[kept], matrices[0][kept] / 0.4, **CLOSE)
        draws.append(rule("dare", 0.4)(each, MergeLayer(layer, 3, seed)).matrix)
    mean, sigma = torch.stack(draws).mean(0), torch.stack(draws).std(0) / 300**0.5
    assert ((mean - sum(matrices)).abs() < 5 * sigma).all()


def test_dare_ties_is_ties_of_what_dare_keeps(folders):
    layer = MergeLayer("model.layers.1.mlp.up_proj", 3, 5)
    each = [source.product(layer.name) for source in sources(folders)]

    class Kept:
        """What DARE keeps of one adapter, by combining it with others that are zero."""

        def __init__(self, index):
            alone = [p.times(float(i == index)) for i, p in enumerate(each)]
            self.matrix = rule("dare", 0.5)(alone, layer).matrix

    right = references.elected_mean([Kept(i).matrix.numpy() for i in range(3)], "total")
    found = rule("dare-ties", 0.5)(each, layer).matrix
    np.testing.assert_allclose(found.numpy(), right, **CLOSE)


@pytest.mark.parametrize(
    "method", [rule("dare", 0.5), rule("dare-ties", 0.5), Knots(rule("dare-ties", 0.5))]
)
def test_a_seed_draws_the_same_again_and_another_seed_something_else(method, folders):
    first, again, other = (combined(folders, method, seed) for seed in (1, 1, 2))
    for layer, matrix in first.items():
        assert torch.equal(matrix, again[layer])
        assert not torch.allclose(matrix, other[layer])


def test_what_a_layer_draws_depends_on_no_other_layer(folders):
    together = Combination(sources(folders), [1, 1, 1], rule("dare", 0.5), 3)
    everything = dict(deltas(together))
    layer = "model.layers.2.mlp.up_proj"
    assert torch.equal(together.delta(layer).matrix, everything[layer].matrix)


@pytest.mark.parametrize("name", combine_rules.METHODS)
def test_one_adapter_with_weight_1_is_that_adapter(name, folders):
    (source, *_) = sources(folders)
    combination = Combination([source], [1.0], combine_rules.made(name))
    for layer, delta in deltas(combination):
        product = source.product(layer)
        assert torch.equal(delta.a, product.a)
        assert torch.equal(delta.b, product.b)
        assert delta.scale == product.scale


def test_an_adapter_and_its_negation_leave_nothing(folders):
    """In shared directions a sum is zero but for rounding, whose sign an election would take."""
    (source, *_) = sources(folders)
    for method in (
        Linear(),
        rule("ties", 0.5),
        rule("magnitude", 0.5),
        rule("sce", 0.5),
        Knots(rule("magnitude", 1.0)),
    ):
        for layer, delta in deltas(Combination([source, source], [1, -1], method)):
            assert delta.norm() < 1e-12 * source.product(layer).norm(), method


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("density", [0, -0.5, 1.5])
def test_a_density_that_is_no_share_is_refused(kind, density):
    with pytest.raises(ConfigError, match=r"density is .* share"):
        rule(kind, density)


@pytest.mark.parametrize("weights", [[], [1.0], [1.0, float("nan"), 1.0]])
def test_weights_that_do_not_fit_are_refused(weights, folders):
    with pytest.raises(ConfigError, match=r"3 adapters and|not finite"):
        Combination(sources(folders), weights)


@pytest.mark.parametrize("kind", combine_rules.METHODS)
def test_a_method_of_a_name_has_the_density_that_is_given(kind):
    own = combine_rules.density_of(combine_rules.made(kind))
    if own is None:
        with pytest.raises(UsageError, match="has no density"):
            combine_rules.made(kind, 0.3)
        return
    assert combine_rules.density_of(combine_rules.made(kind, 0.3)) == 0.3
    assert combine_rules.made(kind, own) == combine_rules.made(kind)
    with pytest.raises(ConfigError, match="density is"):
        combine_rules.made(kind, 0.0)


def test_an_unknown_method_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"merge method `tie`.*linear.*ties"):
        combine_rules.made("tie")
