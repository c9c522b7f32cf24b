"""Where a layer stands: bands hold every layer once, in order, and no more of them than asked."""

import pytest

from tunesmith.adapters.depth import bands, depth_of, kind_of, kinds_of

LAYERS = [
    f"model.layers.{i}.{part}" for i in range(30) for part in ("self_attn.q_proj", "mlp.down_proj")
]


def test_a_name_tells_depth_and_kind():
    assert (depth_of(LAYERS[22]), kind_of(LAYERS[22])) == (11, "q_proj")
    assert (depth_of("lm_head"), kind_of("lm_head")) == (None, "lm_head")
    assert kinds_of(LAYERS) == ["q_proj", "down_proj"]


@pytest.mark.parametrize("most", [1, 7, 10, 29, 30, 100])
def test_bands_hold_every_layer_once_in_order(most):
    found = bands([*reversed(LAYERS), "lm_head"], most=most)
    inside = [each for each in found if each.first is not None]
    assert len(inside) <= most
    assert sorted(layer for each in found for layer in each.layers) == sorted([*LAYERS, "lm_head"])
    assert [each.first for each in inside] == [0, *(each.last + 1 for each in inside[:-1])]
    assert (inside[-1].last, found[-1].name) == (29, "lm_head")


def test_a_band_of_one_block_has_one_number():
    assert [each.name for each in bands(LAYERS[:4], most=9)] == ["0", "1"]
    assert [each.name for each in bands(LAYERS[:8], most=2)] == ["0-1", "2-3"]
