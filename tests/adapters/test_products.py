"""Products by their factors equal their dense matrices: norms, distances, nearest ranks."""

import pytest
import torch

from tests.adapters.combining import generator
from tunesmith.adapters import products
from tunesmith.adapters.products import Dense, Product, blocks, concatenated

SHAPES = {"wide": (7, 20, 4), "tall": (20, 7, 4), "full": (6, 9, 11)}  # D_out, D_in, R


def product(shape, seed=0, scale=-1.5):
    d_out, d_in, rank = shape
    a = torch.randn(rank, d_in, generator=generator(seed), dtype=torch.float64)
    b = torch.randn(d_out, rank, generator=generator(seed + 1), dtype=torch.float64)
    return Product(a, b, scale)


def dense(each):
    return each.scale * each.b @ each.a


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_small_matrices_give_norm_distance_and_singular_values(shape):
    one, other = product(shape), product(shape, seed=5, scale=0.3)
    matrix = dense(one)
    assert one.norm() == pytest.approx(float(matrix.norm()))
    assert one.distance(other) == pytest.approx(float((matrix - dense(other)).norm()))
    assert Dense(matrix).distance(other) == pytest.approx(one.distance(other))
    assert one.distance(one) < 1e-14 * one.norm()
    parts = one.svd()
    torch.testing.assert_close(parts.u @ torch.diag(parts.s) @ parts.v.t(), matrix)
    torch.testing.assert_close(parts.s, torch.linalg.svdvals(matrix)[: len(parts.s)])


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_nearest_rank_is_eckart_and_youngs(shape, rank):
    one = product(shape)
    matrix = dense(one)
    lost = float(torch.linalg.svdvals(matrix)[rank:].norm())
    for delta, exact in ((one, True), (Dense(matrix), True), (Dense(matrix), False)):
        found = delta.nearest(rank, exact=exact, seed=0)
        assert found.rank == rank
        assert delta.distance(found) == pytest.approx(lost, rel=1e-6)


def test_a_product_of_the_rank_asked_for_stays_as_it_is():
    one = product(SHAPES["wide"])
    assert one.nearest(4, exact=False, seed=0) is one


@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_the_randomised_cut_is_nearly_the_best(noise):
    g = generator(3)
    left, right = torch.randn(200, 8, generator=g), torch.randn(8, 150, generator=g)
    matrix = left @ right + noise * torch.randn(200, 150, generator=g)
    delta = Dense(matrix)
    best = delta.distance(delta.nearest(6, exact=True, seed=0))
    found = delta.distance(delta.nearest(6, exact=False, seed=0))
    assert best <= found * (1 + 1e-5)
    assert found < 1.01 * best
    again, same = (delta.nearest(6, exact=False, seed=7) for _ in range(2))
    assert torch.equal(again.a, same.a)


def test_concatenation_is_the_sum():
    each = [product((6, 9, rank), seed=rank, scale=rank - 2.5) for rank in (1, 2, 4)]
    total = concatenated(each)
    assert (total.rank, total.scale) == (7, 1.0)
    torch.testing.assert_close(dense(total), sum(map(dense, each)))


def test_blocks_cover_every_row_once(monkeypatch):
    monkeypatch.setattr(products, "BLOCK_ENTRIES", 50)
    assert list(blocks((11, 20))) == [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (10, 11)]
    assert list(blocks((2, 200))) == [(0, 1), (1, 2)]
