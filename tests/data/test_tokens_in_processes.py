"""Chunks tokenised in processes are those tokenised here, in order; who dies says so."""

import pickle
import signal

import numpy as np
import pytest

from tests.data.tiny import tokenizer_of
from tunesmith.core.errors import DataError
from tunesmith.core.progress import Progress
from tunesmith.core.workers import Pool
from tunesmith.data import token_cache
from tunesmith.data.read import Layout
from tunesmith.data.records import Size, chunked
from tunesmith.data.rows import Record
from tunesmith.data.tokenize import Recipe

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
    hear = pytest.fail if tell is None else lambda event: tell(event.message)
    progress = Progress(hear, threads=processes)
    return token_cache._tokenized(chunks, recipe, LAYOUT, progress=progress)


@pytest.fixture
def few_here(monkeypatch):
    """Processes begin with the second chunk."""
    monkeypatch.setattr(token_cache, "CHUNKS_HERE", 1)


@pytest.fixture
def started(monkeypatch, few_here):
    """The processes that were started."""
    found = []
    launched = Pool._launched

    def remembered(self):
        found.append(launched(self))
        return found[-1]

    monkeypatch.setattr(Pool, "_launched", remembered)
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
    assert [worker.process.wait() for worker in started] == [-signal.SIGKILL] * 2


def test_a_small_source_starts_no_process(started, monkeypatch):
    monkeypatch.setattr(token_cache, "CHUNKS_HERE", 16)
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
    assert all(worker.process.poll() is not None for worker in started)


def test_a_process_that_dies_is_told(started):
    stream = made(2, rows=records(400))
    next(stream)
    next(stream)
    for worker in started:
        worker.process.kill()
    with pytest.raises(DataError, match=r"ended before its work was done .*exit status -9") as told:
        list(stream)
    assert "--train.threads 1" in told.value.remedy


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


def test_layouts_and_recipes_can_be_handed_over():
    assert pickle.loads(pickle.dumps((RECIPE, LAYOUT)))[1] == LAYOUT
