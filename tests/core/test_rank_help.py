"""Units are made by all ranks, once each, while rank 0 alone decides; a fault of one ends all."""

import os
import time
from functools import partial

import pytest
import torch

from tests.ranks import on_ranks
from tunesmith.core import ranks
from tunesmith.core.errors import ModelError, RunError
from tunesmith.core.progress import Cancelled
from tunesmith.core.rank_help import SharedState, divided, helpers, led, together
from tunesmith.core.rank_work import by_first


class Tool:
    """What units are made with; it counts those of this rank."""

    def __init__(self):
        self.weights = torch.zeros(2)
        self.refreshed = self.made = 0

    def refresh(self):
        self.refreshed += 1

    @property
    def state(self):
        return SharedState((self,), (self.weights,), self.refresh)


def scaled(tool, unit, *, by=1):
    tool.made += 1
    return by * unit + float(tool.weights.sum())


def refused(tool, unit):
    if ranks.rank() == unit:
        raise ModelError(f"unit {unit}", remedy="another one")
    return unit


def cancelled(tool, unit):
    if ranks.rank() == unit:
        raise Cancelled
    return unit


def who(tool, unit):
    return os.getpid(), ranks.size(), helpers()


def on_two(work, size=2):
    """What each rank has of led work, and its tool."""

    def run():
        tool = Tool()
        value = led(partial(work, tool), tool.state)
        return value, tool.made, tool.refreshed

    return on_ranks(size, run)


@pytest.mark.parametrize("size", [2, 4])
def test_units_are_divided_and_come_in_their_order(size):
    def work(tool):
        return list(divided(tool, partial(scaled, by=3), range(10)))

    found = on_two(work, size)
    assert [value for value, _, _ in found] == [[3 * i for i in range(10)]] * size
    made = [count for _, count, _ in found]
    assert sum(made) == 10
    assert max(made) - min(made) <= 1 or size == 4


def test_one_process_makes_each_unit_when_it_is_asked_for():
    tool = Tool()
    units = divided(tool, scaled, [1, 2, 3])
    assert tool.made == 0
    assert next(units) == 1
    assert tool.made == 1
    assert led(lambda: 5, tool.state) == 5


def test_what_rank_0_changes_reaches_the_others_before_the_next_units():
    def work(tool):
        before = list(divided(tool, scaled, [0, 0]))
        with torch.no_grad():
            tool.weights.fill_(4.0)
        return before, list(divided(tool, scaled, [0, 0])), list(divided(tool, scaled, [1, 1]))

    (first, _, here), (second, _, there) = on_two(work)
    assert first == second == ([0.0, 0.0], [8.0, 8.0], [9.0, 9.0])
    assert (here, there) == (0, 1)


def test_within_led_work_nothing_else_is_agreed_on_and_units_are_made_without_help():
    def work(tool):
        return by_first(lambda: ranks.gather(7)), list(divided(tool, who, range(2)))

    ((gathered, made), *_), *_ = on_two(work)
    assert gathered == [7]
    assert len({pid for pid, _, _ in made}) == 2
    assert {(size, others) for _, size, others in made} == {(1, 1)}


def test_a_tool_that_the_others_lack_is_used_here():
    def work(tool):
        other = Tool()
        return list(divided(other, scaled, range(4))), other.made

    (value, made, _), _ = on_two(work)
    assert (value, made) == (([0, 1, 2, 3], 4), 0)


@pytest.mark.parametrize("unit", [0, 1])
def test_a_refusal_on_any_rank_is_rank_0s_and_the_work_goes_on_where_it_is_caught(unit):
    def work(tool):
        with pytest.raises((ModelError, RunError), match=f"unit {unit}"):
            list(divided(tool, refused, [7, 1] if unit else [0, 5]))
        return list(divided(tool, scaled, range(4)))

    assert [value for value, _, _ in on_two(work)] == [[0, 1, 2, 3]] * 2


def test_a_failure_of_the_work_ends_all():
    def work(tool):
        raise RunError("no", remedy="none")

    first, second = on_two(work)
    assert isinstance(first, RunError)
    assert first.message == "no"
    assert isinstance(second, RunError)
    assert second.code == "reported"


def test_a_cancel_of_rank_0_is_no_end_of_the_others():
    def work(tool):
        try:
            list(divided(tool, cancelled, [0, 9]))
        except Cancelled:
            return "stopped"

    assert [value for value, _, _ in on_two(work)] == ["stopped", "stopped"]


def test_works_that_follow_at_once_are_not_taken_for_one_another():
    def work():
        state = SharedState(())
        return [led(lambda number=number: number, state) for number in range(20)]

    assert on_ranks(2, work) == [list(range(20))] * 2


def test_the_others_wait_however_long_it_takes():
    def work(tool):
        time.sleep(3)
        return "done"

    def run():
        return led(lambda: work(None), Tool().state)

    assert on_ranks(2, run, settings={ranks.SECONDS: "1"}) == ["done", "done"]


def test_ranks_that_come_together_share_units_too():
    def run():
        tool = Tool()
        return together(tool, lambda tool, unit: scaled(tool, unit), range(5)), tool.made

    (first, here), (second, there) = on_ranks(2, run)
    assert first == second == [0, 1, 2, 3, 4]
    assert (here, there) == (3, 2)
