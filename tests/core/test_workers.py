"""Work in processes keeps its order; who dies, hangs or fails over an item costs that item."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tunesmith.core import workers
from tunesmith.core.errors import RagError
from tunesmith.core.workers import Lost, NotStarted, Pool

WORK = "tests.core.processed:doubled"
NOT_POSIX = os.name != "posix"


def made(items, *, processes=2, lost=pytest.fail, here=None, **options):
    with Pool(WORK, (10,), processes, lost, **options) as pool:
        return list(pool.map(items, here=here))


def test_results_come_in_the_order_of_the_items():
    assert made(range(40)) == [10 * i for i in range(40)]
    assert made([]) == []


def test_items_are_taken_only_a_little_ahead():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    with Pool(WORK, (10,), 2, pytest.fail) as pool:
        next(pool.map(items()))
        assert len(taken) <= 2 * workers.ITEMS_AHEAD + 1


@pytest.mark.parametrize("processes", [1, 2])
def test_a_process_that_dies_costs_one_item_and_is_replaced(processes):
    lost = []
    found = made([1, "die", 2, "die", 3], processes=processes, lost=lambda it: lost.append(it))
    assert found == [10, None, 20, None, 30]
    assert lost == [Lost("these are its last words", timed_out=False)] * 2


def test_the_words_of_one_process_are_not_taken_for_those_of_another():
    lost = []
    made(["say", "quit"], processes=2, lost=lambda it: lost.append(it.why))
    assert lost == ["exit status 3"]


def test_a_process_that_says_nothing_is_told_by_its_status():
    def killed(lost):
        return lost.why

    with Pool(WORK, (10,), 1, killed) as pool:
        results = pool.map([1, "hang"])
        next(results)
        pool._workers[0].process.kill()
        assert next(results) == "exit status -9"


def test_an_item_that_takes_too_long_is_lost():
    found = made([1, "hang", 2], processes=1, lost=lambda it: it, seconds=1.0)
    assert found[::2] == [10, 20]
    assert found[1].timed_out


@pytest.mark.skipif(NOT_POSIX, reason="memory limits")
def test_memory_is_limited():
    with pytest.raises(MemoryError):
        made(["swell"], memory_bytes=2 << 30)


def test_what_goes_wrong_over_an_item_is_raised_here_with_its_place():
    with pytest.raises(FileNotFoundError, match="no such item") as raised:
        made([1, "fail"])
    assert any("processed.py" in note for note in raised.value.__notes__)


def test_what_cannot_be_handed_over_is_done_here():
    odd = lambda: None  # noqa: E731
    assert made([1, odd, 2], here=lambda item: item is odd) == [10, True, 20]
    with pytest.raises(workers.NOT_PICKLED):
        made([odd])


def test_what_the_function_refuses_as_it_is_made_is_raised():
    with (
        pytest.raises(RagError, match="Nothing can be cut") as refused,
        Pool("tests.core.processed:refused", (), 2, pytest.fail),
    ):
        pass
    assert (refused.value.remedy, refused.value.code) == ("Take another model.", "cutter")


@pytest.mark.parametrize(("make", "argument"), [("tests.none:at_all", 1), (WORK, lambda: 1)])
def test_processes_that_cannot_be_started_say_why(make, argument):
    pool = Pool(make, (argument,), 2, pytest.fail)
    with pytest.raises(NotStarted, match="cannot be started"), pool:
        pass


@pytest.mark.parametrize("results", [0, 1, 3])
def test_work_that_is_left_leaves_no_process(results):
    with Pool(WORK, (10,), 2, Lost) as pool:
        stream = pool.map(range(100))
        for _ in range(results):
            next(stream)
    assert [each.process.returncode for each in pool._workers] == [-signal.SIGKILL] * 2


PARENT = f"""
import time
from tunesmith.core.workers import Pool
with Pool("{WORK}", (1,), 1, print) as pool:
    print(pool._workers[0].process.pid, flush=True)
    time.sleep(60)
"""


def test_a_process_ends_with_whoever_started_it():
    """Also where that was killed and could not say so: its end of the pipe closes."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(400):
        if not _lives(child):
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("it lives on")


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
