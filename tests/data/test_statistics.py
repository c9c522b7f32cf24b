import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.statistics import BARS, length_statistics


@given(lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_row_is_in_one_bar(lengths):
    told = length_statistics(np.array(lengths))
    assert sum(told.counts) == len(lengths)
    assert len(told.edges) == len(told.counts) + 1 <= BARS + 1
    assert told.edges[0] <= min(lengths)
    assert told.edges[-1] > max(lengths)
    assert list(told.edges) == sorted(set(told.edges))
    bars = zip(told.edges, told.edges[1:], told.counts, strict=False)
    assert all(sum(low <= n < high for n in lengths) == count for low, high, count in bars)


def test_quantiles_are_lengths_of_rows():
    told = length_statistics(np.arange(1, 101))
    assert told.quantiles == {5: 5, 25: 25, 50: 50, 75: 75, 95: 95, 99: 99}
    assert told.to_json()["quantiles"]["p95"] == 95


def test_a_long_tail_does_not_flatten_the_other_bars():
    told = length_statistics(np.array([*range(50, 100), 100_000]))
    assert sum(count > 0 for count in told.counts) > 4


def test_no_rows_have_no_lengths():
    assert length_statistics(np.zeros(0, dtype=np.int64)) is None


@pytest.mark.parametrize("lengths", [[7], [7, 7, 7], [1, 2]])
def test_few_different_lengths_work(lengths):
    assert sum(length_statistics(np.array(lengths)).counts) == len(lengths)
