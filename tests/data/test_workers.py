"""Chunks tokenised in processes are those tokenised here, in order; who dies or stops says so."""

import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.data.tiny import tokenizer_of
from tunesmith.core.errors import DataError
from tunesmith.data import workers
from tunesmith.data.read import Layout
from tunesmith.data.records import Size, chunked
from tunesmith.data.rows import Record
from tunesmith.data.tokenise import Recipe
from tunesmith.data.workers import tokenised

RECIPE = Recipe(tokenizer_of("chatml"), 500)
LAYOUT = Layout("", "prompt-completion", {})


def records(count=60):
    """Sound rows, faulty ones and blank lines."""
    for line in range(1, count + 1):
        if line % 11 == 0:
            yield Record(line)
        elif line % 7 == 0:
            yield Record(line, {"prompt": f"question {line}"})
        else:
            yield Record(
                line, {"prompt": f"question {line}", "completion": "answer " * (line % 5 + 1)}
            )


def made(processes, *, rows=None, tell=None, recipe=RECIPE):
    chunks = chunked(records() if rows is None else rows, Size(8, 10**6))
    told = pytest.fail if tell is None else tell
    return tokenised(chunks, recipe, LAYOUT, processes=processes, tell=told)


@pytest.fixture
def few_here(monkeypatch):
    """Processes begin with the second chunk."""
    monkeypatch.setattr(workers, "CHUNKS_HERE", 1)


@pytest.fixture
def started(monkeypatch, few_here):
    """The processes that were started."""
    found = []
    start = workers._Workers.start

    def remembered(self):
        start(self)
        found.append(self.all[-1].process)

    monkeypatch.setattr(workers._Workers, "start", remembered)
    return found


def same(one, other):
    for name in ("conversations", "files", "records", "faults", "notes", "last_line"):
        assert getattr(one, name) == getattr(other, name)
    np.testing.assert_array_equal(one.block.ids, other.block.ids)
    np.testing.assert_array_equal(one.block.stops, other.block.stops)


def test_processes_give_what_is_made_here_in_the_same_order(started):
    here, there = list(made(1)), list(made(2))
    assert len(here) == len(there) == 8
    for one, other in zip(here, there, strict=True):
        same(one, other)
    assert [process.wait() for process in started] == [-signal.SIGKILL] * 2


def test_a_small_source_starts_no_process(started, monkeypatch):
    monkeypatch.setattr(workers, "CHUNKS_HERE", 16)
    assert len(list(made(2))) == 8
    assert not started


def test_a_chunk_that_cannot_be_handed_over_is_done_here(few_here):
    deep: object = "x"
    for _ in range(3000):
        deep = [deep]
    rows = [
        *records(20),
        Record(21, {"prompt": "q", "completion": "a", "deep": deep}),
        *records(20),
    ]
    found = list(made(2, rows=iter(rows)))
    assert [each.last_line for each in found] == [8, 16, 3, 11, 19, 20]
    assert sum(each.records for each in found) == 1 + 2 * 19


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_a_stop_leaves_no_process(started, chunks):
    stream = made(2)
    for _ in range(chunks):
        next(stream)
    stream.close()
    assert all(process.poll() is not None for process in started)


def test_a_process_that_dies_is_told(started):
    stream = made(2, rows=records(400))
    next(stream)
    next(stream)
    for process in started:
        process.kill()
    with pytest.raises(DataError, match=r"ended before its work was done .*exit status -9") as told:
        list(stream)
    assert "--train.threads 1" in told.value.remedy


def test_what_goes_wrong_in_a_process_is_raised_here(few_here, monkeypatch):
    rows = iter([*records(9), Record(10, 3), *records(9)])
    with pytest.raises((AttributeError, TypeError)) as raised:
        list(made(2, rows=rows))
    assert any("worker.py" in note for note in raised.value.__notes__)


def test_a_tokeniser_that_cannot_be_handed_over_is_used_here_and_said(few_here):
    class Local:
        def __init__(self, inner):
            self._inner = inner

        def __call__(self, *args, **options):
            return self._inner(*args, **options)

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return getattr(self._inner, name)

    said = []
    local = Recipe(Local(RECIPE.tokenizer), 500)
    found = list(made(2, recipe=local, tell=said.append))
    for one, other in zip(made(1), found, strict=True):
        same(one, other)
    assert len(said) == 1
    assert "one process" in said[0]


def test_a_process_ends_with_whoever_started_it():
    """Also where that was killed and could not say so: its end of the pipe closes."""
    code = (
        "import sys, time\n"
        "from tunesmith.data import workers\n"
        "pool = workers._Workers()\n"
        "pool.start()\n"
        "print(pool.all[0].process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
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


def test_layouts_and_recipes_can_be_handed_over():
    assert pickle.loads(pickle.dumps((RECIPE, LAYOUT)))[1] == LAYOUT
