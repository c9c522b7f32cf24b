"""A share of the rows: nested, in order, of the size that was asked for."""

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.data.part import part_of


@given(st.integers(1, 200), st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 5))
def test_a_smaller_share_is_part_of_a_larger_one(n, a, b, seed):
    rows = list(range(n))
    small, large = (part_of(rows, share=share, seed=seed) for share in sorted((a, b)))
    assert set(small) <= set(large)
    assert small == sorted(small)
    assert len(small) == max(1, round(min(a, b) * n))


def test_the_whole_is_the_rows_and_another_seed_draws_others():
    rows = list("abcdefghij")
    assert part_of(rows, share=1.0, seed=3) == rows
    assert part_of([], share=0.5, seed=0) == []
    assert part_of(rows, share=0.5, seed=0) != part_of(rows, share=0.5, seed=1)
