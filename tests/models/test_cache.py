"""An entry of the cache is whole or absent, whatever happens while it is made."""

import multiprocessing
import os
import signal
import time

import pytest

from tunesmith.core.errors import ModelError
from tunesmith.core.progress import Progress
from tunesmith.models import cache

FORK = multiprocessing.get_context("fork")


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def fill_two(folder):
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")


def test_root_follows_the_environment(home):
    assert cache.cache_root() == home


def test_published_folder_holds_what_was_filled_and_is_filled_once(home):
    calls = []

    def fill(folder):
        calls.append(folder)
        fill_two(folder)

    for _ in range(2):
        assert names(cache.publish(home / "m", fill=fill)) == ["a", "b"]
    assert len(calls) == 1
    assert names(home) == ["m"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, SystemExit])
def test_interrupted_fill_leaves_nothing(home, stop):
    def fill(folder):
        (folder / "a").write_text("half")
        raise stop

    with pytest.raises(stop):
        cache.publish(home / "m", fill=fill)
    assert names(home) == []


def test_killed_process_leaves_no_entry_and_the_next_one_cleans_up(home):
    def slow(folder):
        (folder / "a").write_text("half")
        time.sleep(60)

    victim = FORK.Process(target=lambda: cache.publish(home / "m", fill=slow))
    victim.start()
    wait_for(lambda: (home / ".tmp-m" / "a").exists())
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    assert (home / ".tmp-m").exists()
    assert not (home / "m").exists()
    assert names(cache.publish(home / "m", fill=fill_two)) == ["a", "b"]
    assert names(home) == ["m"]


def test_one_fills_and_another_waits_for_it_and_says_so(home):
    go_on = FORK.Event()

    def slow(folder):
        fill_two(folder)
        assert go_on.wait(20)

    def refuse(folder):
        raise AssertionError("filled twice")

    def hear(event):
        told.append(event.phase)
        go_on.set()

    told = []
    first = FORK.Process(target=lambda: cache.publish(home / "m", fill=slow))
    first.start()
    wait_for(lambda: (home / ".tmp-m" / "b").exists())
    assert names(cache.publish(home / "m", fill=refuse, progress=Progress(hear))) == ["a", "b"]
    first.join()
    assert told == ["Another process is preparing m; waiting for it."]


@pytest.mark.parametrize(("outer", "inner"), [("m", "m-2"), ("m-2", "m")])
def test_entries_do_not_take_each_others_unfinished_work_for_leftovers(home, outer, inner):
    def fill(folder):
        cache.publish(home / inner, fill=fill_two)
        fill_two(folder)

    cache.publish(home / outer, fill=fill)
    assert names(home) == ["m", "m-2"]


def test_unwritable_cache_names_the_way_out(tmp_path):
    def fill(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match=r"No space left.*TUNESMITH_HOME"):
        cache.publish(tmp_path / "m", fill=fill)


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
