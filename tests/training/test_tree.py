"""Streams are summed in one tree: the same sums for any number of ranks, few of them held."""

import itertools

import pytest
import torch
from torch import nn

from tests.training.tiny import adam, plan, tiny_job
from tunesmith.core.ranks import RankPlace
from tunesmith.training.gradients import add_gradients
from tunesmith.training.job import Member, Round
from tunesmith.training.steps import micro_batches
from tunesmith.training.tree import KEEP, MERGE, PartialSums, order_of, own_part

COUNTS = range(18)


def tree(part):
    """The sum of a part as a nested pair; None of an empty one."""
    if len(part) <= 1:
        return part[0] if part else None
    middle = (len(part) + 1) // 2
    return tree(part[:middle]), tree(part[middle:])


def performed(part):
    """What the order does, with pairs in place of sums; and the most sums that were set aside."""
    now, kept, most = None, [], 0
    for what in order_of(part):
        if what == KEEP:
            kept.append(now)
            now, most = None, max(most, len(kept))
        else:
            left, right = (kept.pop(), now) if what == MERGE else (now, what)
            now = right if left is None else (left, right)
    return now, most


@pytest.mark.parametrize("count", COUNTS)
def test_the_order_makes_the_tree_and_holds_few_sums(count):
    made, most = performed(range(count))
    assert made == tree(range(count))
    assert most <= max(0, (count - 1).bit_length() - 1)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_the_parts_of_ranks_are_the_subtrees_of_the_whole(monkeypatch, count, size):
    parts = []
    for rank in range(size):
        monkeypatch.setattr("tunesmith.core.ranks._place", RankPlace(rank, size, rank))
        parts.append(own_part(count))
    assert list(itertools.chain(*parts)) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    level = [tree(part) for part in parts]
    while len(level) > 1:  # as the ranks are summed; an empty one adds zeros
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [a if b is None else (a, b) for a, b in pairs]
    assert level[0] == tree(range(count))


def test_up_to_three_streams_are_added_one_after_the_other():
    for count in range(4):
        assert list(order_of(range(count))) == list(range(count))


def test_gradients_are_set_aside_and_added():
    parameter = nn.Parameter(torch.zeros(2))
    sums = PartialSums([parameter])
    parameter.grad += 1
    sums.do(KEEP)
    assert parameter.grad.tolist() == [0, 0]
    parameter.grad += 2
    sums.do(MERGE)
    assert parameter.grad.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("rows", "ranks", "groups"), [(12, 4, 4), (7, 4, 4), (3, 4, 3), (12, 1, 1)]
)
def test_micro_batches_are_as_many_as_ranks_or_a_multiple(rows, ranks, groups):
    made = micro_batches(tuple(range(rows)), [10] * rows, tokens=1000, ranks=ranks)
    assert len(made) == groups
    assert sorted(itertools.chain(*made)) == list(range(rows))
    assert len(micro_batches(tuple(range(12)), [10] * 12, tokens=25, ranks=4)) == 8


def gradients_of(folder):
    """The gradients of a step of ten rows in as many micro-batches."""
    job = tiny_job(folder, rows_per_step=10)
    each = Round(Member(job, plan(tokens_per_micro_batch=1), adam(job)), job.steps(0), 0, 0.0)
    each.draw()
    found, _ = add_gradients([each])
    return found[each], [parameter.grad for parameter in job.adapter.trained.values()]


def test_the_tree_equals_adding_one_after_the_other_to_1e_6(tmp_path, monkeypatch):
    """It changed the last bits of a run with four micro-batches or more in a step, once."""
    loss, tree = gradients_of(tmp_path / "a")
    monkeypatch.setattr("tunesmith.training.gradients.order_of", iter)
    plain_loss, plain = gradients_of(tmp_path / "b")
    assert loss.task == plain_loss.task
    assert loss.norm == pytest.approx(plain_loss.norm, rel=1e-6)
    assert any(not torch.equal(one, other) for one, other in zip(tree, plain, strict=True))
    for one, other in zip(tree, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
