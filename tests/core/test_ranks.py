"""Ranks tell each other small values, sum in one tree, and name who is missing."""

import os
import signal
import time

import pytest
import torch

from tests.ranks import environment, on_ranks
from tunesmith.core import ranks
from tunesmith.core.errors import DataError, RunError
from tunesmith.core.rank_help import together
from tunesmith.core.rank_place import RankPlace, place_of
from tunesmith.core.rank_sum import copy_from_first_, sum_over_ranks_
from tunesmith.core.rank_work import by_each, by_first, in_turn, require_same
from tunesmith.core.ranks import ReportedElsewhere

SIZES = (1, 2, 4)


def drawn(leaf, length=37):
    """A leaf of a sum, of very unequal numbers: any other order gives other bytes."""
    generator = torch.Generator().manual_seed(leaf)
    sizes = torch.pow(10.0, torch.randint(-6, 6, (length,), generator=generator))
    return torch.randn(length, generator=generator) * sizes


def test_a_process_alone_is_rank_0_of_1_and_waits_for_nobody():
    with ranks.running():
        assert (ranks.rank(), ranks.size(), ranks.is_first()) == (0, 1, True)
        assert ranks.gather("a") == ["a"]
        assert ranks.broadcast("a") == "a"
        assert ranks.mine([1, 2, 3]) == [1, 2, 3]
        assert by_first(lambda: 1) == by_each(lambda: 1) == 1


@pytest.mark.parametrize("size", SIZES)
def test_values_of_all_ranks_come_to_each(size):
    def work():
        return (
            ranks.gather(ranks.rank()),
            ranks.broadcast(f"from {ranks.rank()}"),
            ranks.any_of(ranks.rank() == size - 1),
            ranks.any_of(False),
            ranks.gather(list(ranks.mine(range(7)))),
            by_first(lambda: os.environ["RANK"]),
        )

    everywhere = (
        list(range(size)),
        "from 0",
        True,
        False,
        [list(range(i, 7, size)) for i in range(size)],
        "0",
    )
    assert on_ranks(size, work) == [everywhere] * size


@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_that_do_not_divide_and_ranks_without_one(count):
    def work():
        return together("tool", named, range(count))

    assert on_ranks(4, work) == [[f"tool {i}" for i in range(count)]] * 4


def named(tool, unit):
    return f"{tool} {unit}"


def test_what_rank_0_does_alone_is_not_divided():
    def work():
        return by_first(lambda: together("tool", named, range(3)))

    assert on_ranks(2, work) == [["tool 0", "tool 1", "tool 2"]] * 2


def test_the_sum_is_that_of_one_tree_and_every_rank_has_the_same_bytes(monkeypatch):
    monkeypatch.setattr("tunesmith.core.rank_sum.PIECE_BYTES", 64)  # several pieces

    def work():
        tensors = [drawn(ranks.rank()), drawn(10 + ranks.rank(), 3).double(), torch.empty(0)]
        sum_over_ranks_(tensors)
        return [tensor.numpy().tobytes() for tensor in tensors]

    def tree(of):
        return (of(0) + of(1)) + (of(2) + of(3))

    wide = tree(lambda r: drawn(10 + r, 3).double())
    expected = [tree(drawn).numpy().tobytes(), wide.numpy().tobytes(), b""]
    in_another_order = drawn(0) + drawn(1) + drawn(2) + drawn(3)
    assert in_another_order.numpy().tobytes() != expected[0]
    assert on_ranks(4, work) == [expected] * 4


def test_the_tensors_of_rank_0_come_to_all():
    def work():
        tensors = [torch.full((2, 3), ranks.rank()).t(), torch.full((2,), ranks.rank()).byte()]
        copy_from_first_(tensors)
        return [tensor.tolist() for tensor in tensors]

    assert on_ranks(2, work) == [[[[0, 0]] * 3, [0, 0]]] * 2


def test_a_refusal_on_rank_0_ends_the_others_quietly():
    def refuse():
        raise DataError("No rows.")

    first, other = on_ranks(2, lambda: by_first(refuse))
    assert isinstance(first, DataError)
    assert isinstance(other, ReportedElsewhere)


def test_a_refusal_on_one_rank_is_reported_by_rank_0_with_its_number():
    def work():
        if ranks.rank() == 2:
            raise DataError("data.jsonl is missing.", remedy="Copy it.")

    found = on_ranks(4, lambda: by_each(work))
    assert found[0].message == "Rank 2: data.jsonl is missing."
    assert (found[0].remedy, found[0].code) == ("Copy it.", "data")
    assert all(isinstance(each, ReportedElsewhere) for each in found[1:])


def test_what_must_be_the_same_on_all_ranks_is_refused_with_who_has_what():
    def work():
        require_same("the rows", "abc", "None.")
        require_same("the rows", "ab"[ranks.rank() == 1], "Copy the file.")

    found = on_ranks(4, work)
    assert (
        str(found[0]) == "The ranks differ in the rows: ranks 0, 2, 3: a; rank 1: b. Copy the file."
    )
    assert all(isinstance(each, ReportedElsewhere) for each in found[1:])


def test_a_rank_that_hangs_is_named():
    def work():
        ranks.gather(0)
        if ranks.rank() == 2:
            time.sleep(4)
            return None
        return ranks.gather(0)

    found = on_ranks(4, work, settings={ranks.SECONDS: "1.5"})
    assert found[2] is None
    for other in (0, 1, 3):
        assert f"Rank {other} waited for rank 2, which" in found[other].message


def test_a_rank_that_is_killed_is_named():
    def work():
        ranks.gather(0)
        if ranks.rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return ranks.gather(0)

    first, other = on_ranks(2, work)
    assert other == -signal.SIGKILL
    assert "Rank 0 waited for rank 1, which has ended" in first.message


def test_waiting_for_rank_0_has_no_limit():
    def work():
        return by_first(lambda: time.sleep(2) or "late", patient=True)

    assert on_ranks(2, work, settings={ranks.SECONDS: "1"}) == ["late", "late"]


def test_ranks_that_do_not_come_are_reported():
    first = on_ranks(1, lambda: None, settings={"WORLD_SIZE": "2", ranks.SECONDS: "1"})[0]
    assert "Rank 0 of 2: the ranks did not find each other at 127.0.0.1:" in first.message


def test_an_environment_without_ranks_is_one_process():
    assert place_of({}) == place_of({"LOCAL_RANK": "0"}) == RankPlace(0, 1, 0)
    assert place_of(environment(0, 1, 1)) == RankPlace(0, 1, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"MASTER_ADDR": ""}, "RANK=1, WORLD_SIZE=4, but no MASTER_ADDR"),
        ({"RANK": "", "MASTER_PORT": ""}, "WORLD_SIZE=4, but no RANK, MASTER_PORT"),
        ({"WORLD_SIZE": ""}, "RANK=1, but no WORLD_SIZE"),
        ({"RANK": "4"}, "is wrong: RANK=4, WORLD_SIZE=4, LOCAL_RANK=1"),
        ({"RANK": "two"}, "is wrong: RANK=two"),
        ({"WORLD_SIZE": "3"}, "3 ranks: .* Start 2 or 4"),
    ],
)
def test_an_environment_with_missing_or_wrong_parts_is_refused(changes, message):
    with pytest.raises(RunError, match=message):
        place_of({**environment(1, 4, 29500), **changes})


def test_later_ranks_of_a_machine_come_after_its_first_one(tmp_path):
    def work():
        found = sorted(path.name for path in tmp_path.iterdir())
        time.sleep(0.1 * (ranks.rank() == 0))
        (tmp_path / str(ranks.rank())).touch()
        return found

    first, *others = on_ranks(4, lambda: in_turn(work))
    assert first == []
    assert all("0" in found for found in others)


def test_an_error_that_all_ranks_have_is_raised_by_rank_0_alone():
    def refuse():
        raise DataError("Step 5: the loss is nan.")

    first, *others = on_ranks(4, refuse)
    assert isinstance(first, DataError)
    assert all(isinstance(each, ReportedElsewhere) for each in others)


def test_an_error_of_one_rank_ends_those_that_wait_for_it_without_one_of_their_own():
    def work():
        if ranks.rank() == 1:
            raise DataError("data.jsonl is missing.")
        return by_first(lambda: ranks.gather(0), patient=True)

    first, other = on_ranks(2, work)
    assert isinstance(first, ReportedElsewhere)
    assert isinstance(other, DataError)


def test_ranks_do_not_wait_for_rank_0_where_it_has_left():
    def work():
        if ranks.is_first():
            raise DataError("No rows.")
        return by_first(lambda: None, patient=True)

    first, other = on_ranks(2, work)
    assert isinstance(first, DataError)
    assert isinstance(other, ReportedElsewhere)
