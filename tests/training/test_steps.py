""""""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config import TrainSettings
from tunesmith.training.steps import (
    endless_steps,
    factor,
    micro_batches,
    steps_of_epoch,
    total_steps,
    warmup_of,
)

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 200), st.integers(0, 9))
def test_an_epoch_has_every_row_once_and_no_step_over_its_budget(lengths, tokens, epoch):
    steps = list(
        steps_of_epoch(lengths, TrainSettings(tokens_per_step=tokens, seed=1), epoch=epoch)
    )
    assert sorted(row for step in steps for row in step) == list(range(len(lengths)))
    for step in steps:
        assert len(step) == 1 or sum(lengths[row] for row in step) <= tokens


@given(LENGTHS, st.integers(1, 200))
def test_micro_batches_have_every_row_once_and_only_lone_rows_are_over_the_limit(lengths, tokens):
    rows = tuple(range(len(lengths)))
    groups = micro_batches(rows, lengths, tokens=tokens)
    assert sorted(row for group in groups for row in group) == list(rows)
    for group in groups:
        assert group
        assert len(group) == 1 or sum(lengths[row] for row in group) <= tokens


def test_epochs_differ_in_order_and_the_seed_decides():
    lengths = [1] * 40

    def order(seed, epoch):
        return list(steps_of_epoch(lengths, TrainSettings(rows_per_step=4, seed=seed), epoch=epoch))

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_steps_go_on_where_a_run_stopped():
    settings = TrainSettings(rows_per_step=3, epochs=3)
    whole = endless_steps([1] * 10, settings)
    first = [next(whole) for _ in range(12)]
    later = endless_steps([1] * 10, settings, first=5)
    assert [next(later) for _ in range(7)] == first[5:]


def test_parts_of_epochs_and_weights_are_counted():
    assert total_steps([1] * 12, TrainSettings(rows_per_step=3, epochs=2.5)) == 10
    assert total_steps([1] * 12, TrainSettings(rows_per_step=3, epochs=None)) == 12
    assert total_steps([1] * 12, TrainSettings(rows_per_step=3, steps=7)) == 7
    copies = [3.0] * 2 + [0.5] * 1000
    settings = TrainSettings(rows_per_step=5000)
    (rows,) = steps_of_epoch([1] * 1002, settings, epoch=0, copies=copies)
    counts = np.bincount(rows, minlength=1002)
    assert counts[:2].tolist() == [3, 3]
    assert 420 < counts[2:].sum() < 580


@given(LENGTHS, st.integers(1, 200), st.none() | st.integers(1, 9))
def test_a_step_is_as_full_as_whole_rows_allow(lengths, tokens, rows):
    """As filling it row by row does, which is what runs of before were trained with."""
    size = {"rows_per_step": rows} if rows else {"tokens_per_step": tokens}
    steps = list(steps_of_epoch(lengths, TrainSettings(**size, seed=1), epoch=0))
    filled, step = [], []
    for row in (row for step in steps for row in step):
        size = sum(lengths[r] for r in step)
        if step and (len(step) >= rows if rows else size + lengths[row] > tokens):
            filled.append(tuple(step))
            step = []
        step.append(row)
    assert steps == [*filled, tuple(step)]


@given(LENGTHS, st.integers(1, 200))
def test_each_row_goes_into_the_emptiest_micro_batch(lengths, tokens):
    groups = micro_batches(tuple(range(len(lengths))), lengths, tokens=tokens)
    sizes = [0] * len(groups)
    for row in sorted(range(len(lengths)), key=lambda r: (-lengths[r], r)):
        i = sizes.index(min(sizes))
        assert row in groups[i]
        sizes[i] += lengths[row]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_warm_up_rises_to_the_peak_and_the_rest_never_rises(schedule):
    shares = [factor(i, steps=50, warmup=5, schedule=schedule) for i in range(50)]
    assert shares[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert shares[5] == 1.0
    assert all(a >= b >= 0 for a, b in itertools.pairwise(shares[4:]))
    assert (shares[-1] < 0.05) == (schedule != "constant")


def test_auto_warm_up_is_a_small_share_and_a_number_is_taken_as_it_is():
    assert warmup_of(TrainSettings(), 1000) == 30
    assert warmup_of(TrainSettings(), 10) == 1  # a short run warms up too
    assert warmup_of(TrainSettings(warmup_steps=0), 1000) == 0
    assert factor(0, steps=10, warmup=0, schedule="cosine") == 1.0
