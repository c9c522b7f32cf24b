"""Rank use: bounds, what it does not depend on, and layers at their weight."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.evaluate.capacity.use import LayerUse, rank_use

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
    assert layer(*values).rank_for(shares[0]) == 1


def test_energy_is_squared():
    assert layer(3.0, 1.0).shares == pytest.approx((0.9, 1.0))
    assert layer(3.0, 1.0).rank_for(0.9) == 1
    assert layer(3.0, 1.0).rank_for() == 2


def test_over_all_a_layer_counts_by_its_energy():
    use = rank_use({"big": (10.0, 10.0), "small": (0.1, 0.0)}, {"big": 2, "small": 2})
    assert use.effective_share == pytest.approx(1.0, abs=1e-3)
    assert use.shares == pytest.approx((100.01 / 200.01, 1.0))
    assert (use.rank, use.rank_for()) == (2, 2)


def test_layers_of_other_ranks_are_taken_together():
    use = rank_use({"a": (1.0,), "b": (1.0, 1.0, 1.0), "c": (2.0,)}, {"a": 1, "b": 3, "c": 1})
    assert use.rank == 1
    assert use.shares == pytest.approx((6 / 8, 7 / 8, 1.0))


def test_without_a_layer_there_is_nothing_to_say():
    with pytest.raises(ValueError, match="no layer"):
        rank_use({}, {})


def test_random_factors_fill_their_rank():
    rng = np.random.default_rng(0)
    for rank in (2, 8, 32):
        values = np.linalg.svd(
            rng.normal(size=(300, rank)) @ rng.normal(size=(rank, 200)), compute_uv=False
        )[:rank]
        assert layer(*values.tolist()).effective_rank > 0.96 * rank
