"""Rows are the same wherever they lie, chosen or cut, in one block or many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.data.dataset import block_of, dataset_of, joined
from tunesmith.data.rows import TokenRow

WEIGHTS = st.sampled_from([0.0, 1.0, 0.5])
ROWS = st.lists(st.lists(WEIGHTS, min_size=1, max_size=9), max_size=12)


def made(weights, file="f.jsonl"):
    """Rows with these weights, and ids that tell them apart."""
    return [
        TokenRow(
            np.arange(len(some), dtype=np.int32) + 100 * number,
            np.array(some, dtype=np.float32),
            file,
            number,
        )
        for number, some in enumerate(weights, start=1)
    ]


def blocks(rows, sizes):
    """The rows in blocks of these sizes, the rest in one more; owners count through."""
    found, start = [], 0
    for size in [*sizes, len(rows)]:
        some = rows[start : start + size]
        owners = range(start, start + len(some))
        found.append(block_of(some, owners, ["f.jsonl", "g.jsonl"]))
        start += len(some)
    return found


def same(dataset, rows):
    assert len(dataset) == len(rows)
    for i, row in enumerate(rows):
        found = dataset[i]
        np.testing.assert_array_equal(found.ids, row.ids)
        np.testing.assert_array_equal(found.weights, row.weights)
        assert (found.file, found.line) == (row.file, row.line)
        assert found.ids.dtype == np.int32
        assert found.weights.dtype == np.float32
    assert dataset.tokens == sum(len(row.ids) for row in rows)
    assert dataset.supervised_tokens == sum(np.count_nonzero(row.weights) for row in rows)
    assert dataset.longest == max((len(row.ids) for row in rows), default=0)
    assert dataset.lengths.tolist() == [len(row.ids) for row in rows]


@given(ROWS, st.lists(st.integers(0, 4), max_size=4), st.randoms())
@settings(max_examples=120, deadline=None, derandomize=True)
def test_rows_are_the_same_in_any_blocks_and_of_any_choice(weights, sizes, random):
    rows = made(weights)
    dataset = dataset_of(blocks(rows, sizes), ["f.jsonl", "g.jsonl"])
    same(dataset, rows)
    chosen = [i for i in range(len(rows)) if random.random() < 0.5]
    same(dataset.take(np.array(chosen, dtype=np.int64)), [rows[i] for i in chosen])
    mask = np.isin(np.arange(len(rows)), chosen)
    assert dataset.take(mask).lines.tolist() == [rows[i].line for i in chosen]
    assert dataset.take(mask).owners.tolist() == chosen


def test_no_token_is_copied():
    block = block_of(made([[0, 1, 1], [0, 0.5]]), [0, 1], ["f.jsonl"])
    dataset = dataset_of([block], ["f.jsonl"])
    for some in (dataset, dataset.take(np.array([1])), joined([dataset], [2])):
        assert np.shares_memory(some[len(some) - 1].ids, block.ids)


def test_rows_of_several_sources_follow_one_another_with_their_files_and_owners():
    one = dataset_of([block_of(made([[0, 1]] * 3), [0, 1, 1], ["f.jsonl"])], ["f.jsonl"])
    rows = made([[0, 1, 1]] * 2, file="g.jsonl")
    two = dataset_of([block_of(rows, [0, 1], ["g.jsonl"])], ["g.jsonl"])
    both = joined([one, two, one], [2, 2, 2])
    assert [both[i].file for i in range(8)] == ["f.jsonl"] * 3 + ["g.jsonl"] * 2 + ["f.jsonl"] * 3
    assert both.owners.tolist() == [0, 1, 1, 2, 3, 4, 5, 5]
    assert both.lengths.tolist() == [2, 2, 2, 3, 3, 2, 2, 2]
    same(joined([one, two], [2, 2]), [*made([[0, 1]] * 3), *rows])


def test_rows_are_numbered_from_either_end():
    dataset = dataset_of(blocks(made([[0, 1], [0, 1, 1], [0.5]]), [1, 1]), ["f.jsonl", "g.jsonl"])
    with pytest.raises(IndexError):
        dataset[3]
    assert dataset[-1].line == 3
