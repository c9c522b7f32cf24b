"""Singular values from the factors alone are those of the full product."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.tiny import tiny_model
from tunesmith.config.methods import LoraSettings
from tunesmith.engine.forward import prepare_
from tunesmith.evaluation.capacity import (
    FloorFall,
    LayerUse,
    RankPoint,
    RankUse,
    assess_capacity,
    capacity_of,
    layer_uses,
    loss_falls,
    rank_for,
    singular_values,
)
from tunesmith.methods import table


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("rank", "wide", "tall"), [(1, 7, 5), (4, 30, 20), (8, 6, 9), (8, 40, 3)])
def test_values_are_those_of_the_full_product(rank, wide, tall):
    a, b = random(rank, wide), random(tall, rank, seed=1)
    full = torch.linalg.svdvals(2.5 * b @ a)
    found = singular_values(a, b, scale=2.5)
    count = min(rank, wide, tall)
    assert found.shape == (count,)
    torch.testing.assert_close(found, full[:count], rtol=1e-9, atol=1e-9)


def test_turning_and_stretching_the_factors_against_each_other_changes_nothing():
    a, b, mix = random(4, 12), random(9, 4, seed=1), random(4, 4, seed=2)
    other = singular_values(torch.linalg.solve(mix, a), b @ mix)
    torch.testing.assert_close(other, singular_values(a, b), rtol=1e-8, atol=1e-8)


def test_the_full_product_is_never_made():
    rows = 60_000  # whose product would take 29 GB
    values = singular_values(torch.ones(2, rows), torch.ones(rows, 2))
    assert values[0].item() == pytest.approx(2 * rows)


def test_factors_that_do_not_fit_or_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match=r"A \[2, 3\] and B \[4, 3\] have no product"):
        singular_values(torch.ones(2, 3), torch.ones(4, 3))
    with pytest.raises(ValueError, match="not a number"):
        singular_values(torch.full((1, 2), math.nan), torch.ones(2, 1))


def attached(**settings):
    engine = prepare_(tiny_model("llama"), torch.float32)
    adapter = table.attach(engine, LoraSettings(rank=3, alpha=6, **settings), name="mine")
    return engine, adapter


def test_every_layer_with_a_term_is_there_with_its_scale():
    engine, adapter = attached(targets=("q_proj", "o_proj"))
    for parameter in adapter.parameters.values():
        parameter.data = torch.randn_like(parameter)
    found = {each.layer: each.values for each in layer_uses(engine, "mine")}
    assert {name.rpartition(".")[2] for name in found} == {"q_proj", "o_proj"}
    for name, values in found.items():
        term = engine.linears[name].terms["mine"]
        full = torch.linalg.svdvals(2.0 * (term.b @ term.a).detach().double())[:3]
        assert values == pytest.approx(full.tolist())
    assert layer_uses(engine, "other") == ()
    assert capacity_of(engine, "other") is None


def test_an_untrained_adapter_has_values_of_zero_whatever_its_start():
    for start in ("uniform", "pissa"):
        engine, _ = attached(**({} if start == "uniform" else {"init": start}))
        for each in layer_uses(engine, "mine"):
            assert max(each.values) < 1e-5


def test_a_layer_that_is_no_number_is_named():
    engine, adapter = attached(targets=("q_proj",))
    next(iter(adapter.parameters.values())).data.fill_(math.inf)
    with pytest.raises(ValueError, match=r"layers\.\d\.self_attn\.q_proj: "):
        layer_uses(engine, "mine")


VALUES = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=16).map(
    lambda values: tuple(sorted(values, reverse=True))
)


def layer(*values, rank=None):
    return LayerUse("x", rank or len(values), values)


@given(VALUES, st.floats(1e-3, 1e3))
def test_effective_rank_lies_between_one_and_the_rank_at_any_scale(values, scale):
    found = layer(*values).effective_rank
    assert 1 - 1e-9 <= found <= len(values) + 1e-9
    scaled = layer(*(scale * value for value in values))
    assert scaled.effective_rank == pytest.approx(found, rel=1e-6)


def test_effective_rank_of_equal_values_is_their_number_and_of_one_it_is_one():
    assert layer(3.0, 3.0, 3.0, 3.0).effective_rank == pytest.approx(4)
    assert layer(3.0, 0.0, 0.0, 0.0).effective_rank == pytest.approx(1)
    assert layer(0.0, 0.0).effective_rank == 0
    two = layer(2.0, 1.0)
    assert two.effective_rank == pytest.approx(math.exp(math.log(3) - 2 / 3 * math.log(2)))


@given(VALUES)
def test_shares_of_the_energy_rise_to_all_of_it(values):
    shares = layer(*values).shares
    assert list(shares) == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert rank_for(shares, shares[0]) == 1


def test_energy_is_squared():
    assert layer(3.0, 1.0).shares == pytest.approx((0.9, 1.0))
    assert rank_for(layer(3.0, 1.0).shares, 0.9) == 1
    assert rank_for(layer(3.0, 1.0).shares) == 2


def test_over_all_a_layer_counts_by_its_energy():
    use = RankUse((layer(10.0, 10.0), layer(0.1, 0.0)))
    assert use.effective_share == pytest.approx(1.0, abs=1e-3)
    assert use.shares == pytest.approx((100.01 / 200.01, 1.0))
    assert (use.rank, rank_for(use.shares)) == (2, 2)


def test_layers_of_other_ranks_are_taken_together():
    use = RankUse((layer(1.0), layer(1.0, 1.0, 1.0), layer(2.0)))
    assert use.rank == 1
    assert use.shares == pytest.approx((6 / 8, 7 / 8, 1.0))


def test_random_factors_fill_their_rank():
    rng = np.random.default_rng(0)
    for rank in (2, 8, 32):
        values = np.linalg.svd(
            rng.normal(size=(300, rank)) @ rng.normal(size=(rank, 200)), compute_uv=False
        )[:rank]
        assert layer(*values.tolist()).effective_rank > 0.96 * rank


RNG = np.random.default_rng(0)


def point(rank, level, rows=80, rng=RNG, noise=0.02):
    base = np.linspace(0.5, 1.5, rows) * level
    return RankPoint(rank, np.abs(base + rng.normal(0, noise, rows)).tolist())


def test_a_rank_that_is_too_low_is_seen_and_the_next_one_is_not():
    first, second = loss_falls([point(8, 0.5), point(1, 1.0), point(32, 0.495)], seed=0)
    assert (first.rank, first.larger, first.matters) == (1, 8, True)
    assert first.low < 0.5 < first.high
    assert (second.rank, second.larger, second.matters) == (8, 32, False)


@pytest.mark.usefixtures("few_resamples")
def test_equal_ranks_seldom_matter():
    hits = 0
    for repeat in range(200):
        rng = np.random.default_rng([1, repeat])
        points = [point(rank, 1.0, 40, rng, 0.3) for rank in (1, 4, 16)]
        hits += any(each.matters for each in loss_falls(points, seed=0))
    assert hits <= 10


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ([point(1, 1.0)], "two different ranks"),
        ([point(1, 1.0), point(1, 0.9)], "each given once"),
        ([point(1, 1.0), point(2, 0.9, rows=70)], "the same two rows"),
        ([RankPoint(1, [1.0]), RankPoint(2, [1.0])], "two rows or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(points, why):
    with pytest.raises(ValueError, match=why):
        loss_falls(points, seed=0)


def test_losses_that_do_not_differ_have_no_fall():
    (fall,) = loss_falls([RankPoint(1, [1.0, 2.0]), RankPoint(2, [1.0, 2.0])], seed=0)
    assert (fall.fall, fall.low, fall.high, fall.matters) == (0, 0, 0, False)


def use(*values, layers=3):
    return RankUse((layer(*values),) * layers)


def codes(use, *falls):
    return [each.code for each in assess_capacity(use, falls).findings]


def falling(count, power):
    """Singular values that fall as those of real adapters do."""
    return tuple((np.arange(1, count + 1) ** -power).tolist())


def test_an_ordinary_spectrum_says_nothing():
    for power in (0.5, 0.8, 1.0, 1.3):
        found = assess_capacity(use(*falling(16, power)))
        assert found.findings == ()
        assert found.text() == "The rank fits: it is neither fully used nor mostly unused."


def test_a_flat_one_is_full_and_no_harm():
    (finding,) = assess_capacity(use(*falling(16, 0.1))).findings
    assert (finding.code, finding.harm) == ("full-rank", False)


def test_rank_one_is_always_flat_and_says_nothing_alone():
    assert codes(use(1.0)) == []


def test_a_spectrum_of_few_directions_is_spare_where_the_rank_is_worth_saving():
    assert codes(use(5.0, 3.0, *[1e-3] * 14)) == ["spare-rank"]
    assert codes(use(5.0, *[1e-3] * 3)) == []


def test_nothing_trained_is_harm():
    (finding,) = assess_capacity(use(0.0, 0.0)).findings
    assert (finding.code, finding.harm) == ("untrained", True)


LOW = FloorFall(1, 8, 0.4, 0.3, 0.5)
SAME = FloorFall(8, 32, 0.01, -0.01, 0.03)


def test_a_comparison_names_the_last_rank_that_is_too_low():
    found = assess_capacity(use(1.0), (LOW, SAME))
    assert [(each.code, each.harm) for each in found.findings] == [("rank-too-low", True)]
    assert found.text() == (
        "Rank 1 is too low: rank 8 reaches a training loss that is 40 % lower (30 % to 50 %)."
    )
    ordinary = assess_capacity(use(*falling(16, 0.8)), (LOW, SAME))
    assert [each.harm for each in ordinary.findings] == [False]


def test_ranks_that_do_not_differ_are_enough_and_unsure_ones_say_nothing():
    assert codes(use(*falling(8, 0.8)), SAME) == ["rank-enough"]
    assert codes(use(*falling(8, 0.8)), FloorFall(8, 32, 0.06, -0.01, 0.12)) == []


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_finding_has_words(language):
    for each in (use(0.0), use(*falling(16, 0.1)), use(5.0, *[1e-4] * 15), use(1.0)):
        for falls in ((), (LOW,), (SAME,)):
            found = assess_capacity(each, falls)
            assert "{" not in found.text(language=language)
            assert found.to_json()["text"] == found.text()
