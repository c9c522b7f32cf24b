"""Loss against rank: a floor that falls is told, and noise is not."""

import numpy as np
import pytest

from tunesmith.evaluate.capacity.floor import RankPoint, loss_falls

RNG = np.random.default_rng(0)


def point(rank, level, rows=80, rng=RNG, noise=0.02):
    base = np.linspace(0.5, 1.5, rows) * level
    return RankPoint(rank, np.abs(base + rng.normal(0, noise, rows)).tolist())


def test_a_rank_that_is_too_low_is_seen_and_the_next_one_is_not():
    first, second = loss_falls([point(8, 0.5), point(1, 1.0), point(32, 0.495)], seed=0)
    assert (first.rank, first.larger, first.matters) == (1, 8, True)
    assert first.low < 0.5 < first.high
    assert (second.rank, second.larger, second.matters) == (8, 32, False)


def test_equal_ranks_seldom_matter():
    hits = 0
    for repeat in range(200):
        rng = np.random.default_rng([1, repeat])
        points = [point(rank, 1.0, 40, rng, 0.3) for rank in (1, 4, 16)]
        hits += any(each.matters for each in loss_falls(points, seed=0, resamples=500))
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
