"""The bootstrap: the same for a seed, bounded in memory, and about as wide as theory says."""

import math
import tracemalloc

import numpy as np
import pytest

from tunesmith.evaluation import intervals
from tunesmith.evaluation.intervals import bootstrap_limits

SKEWED = np.random.default_rng(5).exponential(size=60).tolist()


def test_the_seed_decides_and_the_chunks_do_not(monkeypatch):
    first = bootstrap_limits(SKEWED, seed=1, level=0.95, resamples=500)
    assert bootstrap_limits(SKEWED, seed=1, level=0.95, resamples=500) == first
    assert bootstrap_limits(SKEWED, seed=2, level=0.95, resamples=500) != first
    monkeypatch.setattr(intervals, "CHUNK_VALUES", 7 * len(SKEWED))
    assert bootstrap_limits(SKEWED, seed=1, level=0.95, resamples=500) == first


def test_limits_of_many_normal_values_are_those_of_the_normal_interval():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_limits(values.tolist(), seed=0, level=0.95)
    half = 1.96 * values.std() / math.sqrt(values.size)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_limits_lean_towards_the_long_tail_and_mirror_with_it():
    low, high = bootstrap_limits(SKEWED, seed=0, level=0.95)
    mean = sum(SKEWED) / len(SKEWED)
    assert high - mean > mean - low > 0
    mirrored = bootstrap_limits([-value for value in SKEWED], seed=0, level=0.95)
    assert mirrored == pytest.approx((-high, -low), rel=1e-6)


@pytest.mark.parametrize(("level", "distance"), [(0.1, 0.02), (0.95, 0.05)])
def test_a_long_tail_moves_both_limits_well_beyond_the_plain_percentiles(level, distance):
    means = intervals._resampled_means(np.array(SKEWED), 10_000, seed=0)
    plain = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    limits = bootstrap_limits(SKEWED, seed=0, level=level)
    assert min(limits - plain) > distance * means.std()


def test_limits_hold_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(3)
    trials = 300
    held = 0
    for trial in range(trials):
        rows = rng.exponential(size=30).tolist()
        low, high = bootstrap_limits(rows, seed=trial, level=0.9, resamples=400)
        held += low <= 1.0 <= high
    assert 0.83 <= held / trials <= 0.95


def test_memory_does_not_grow_with_rows_times_resamples():
    values = np.random.default_rng(0).random(20_000).tolist()
    tracemalloc.start()
    bootstrap_limits(values, seed=0, level=0.95, resamples=500)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 500 * 20_000 * 8 / 2


def test_a_single_value_is_refused():
    with pytest.raises(ValueError, match="at least two values, not 1"):
        bootstrap_limits([0.5], seed=0, level=0.95)
