"""Rows over the limit: one fault for all, or counted and gone, or cut with what is left of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_dataset import blocks, made
from tunesmith.data.dataset import Limit, dataset_of, limited, nothing_left
from tunesmith.data.faults import LISTED

ROWS = st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=9), max_size=12)


def dataset(weights, sizes=(2, 3)):
    return dataset_of(blocks(made(weights), sizes), ["f.jsonl", "g.jsonl"])


@given(ROWS, st.integers(1, 9), st.sampled_from(["error", "truncate", "drop"]))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_what_is_left_and_what_is_said(weights, limit, overflow):
    rows, long = dataset(weights), [i for i, some in enumerate(weights) if len(some) > limit]
    found = limited(rows, Limit(limit, overflow))
    assert found.long == len(long)
    left = {"error": weights, "drop": [some for some in weights if len(some) <= limit]}
    left["truncate"] = [some[:limit] for some in weights]
    assert [found.rows[i].weights.tolist() for i in range(len(found.rows))] == left[overflow]
    supervised = sum(np.count_nonzero(some) for some in left[overflow])
    assert found.rows.supervised_tokens == supervised
    told = [(note.code, note.count, [line - 1 for line in note.lines]) for note in found.notes]
    code = {"truncate": "cut", "drop": "dropped"}.get(overflow)
    assert told == ([(code, len(long), long)] if long and code else [])
    away = [i + 1 for i in long if not any(weights[i][:limit])] if overflow == "truncate" else []
    codes = [(fault.code, fault.line) for fault in found.faults.listed]
    refused = [("too_long", long[0] + 1)] if long and overflow == "error" else []
    assert codes == refused + [("cut_away", line) for line in away]


def test_the_one_fault_names_the_longest_and_the_first_few():
    found = limited(dataset([[0, 1]] + [[0] * n for n in range(5, 15)]), Limit(4, "error"))
    (fault,) = found.faults.listed
    assert fault.message == (
        "10 rows are longer than 4 tokens (the longest: 14, line 11; others: f.jsonl:3, f.jsonl:4, "
        "f.jsonl:5, f.jsonl:6, ...)."
    )
    assert str(fault).startswith("f.jsonl:2: ")


def test_a_million_long_rows_make_a_short_note():
    rows = dataset([[0, 1, 1]] * (LISTED + 7))
    (note,) = limited(rows, Limit(2, "drop")).notes
    assert (note.count, len(note.lines)) == (LISTED + 7, LISTED)


@pytest.mark.parametrize(("dropped", "why"), [(0, "there are none"), (3, "(3 rows)")])
def test_no_row_left_says_why(dropped, why):
    assert why in nothing_left(dropped, Limit(2)).message
