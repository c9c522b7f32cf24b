"""An entry of the cache is whole or absent, whatever happens while it is made."""

import multiprocessing
import os
import signal
import time

import pytest

from tunesmith.errors import ModelError
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
    wait_for(lambda: list(home.glob(".partial-m-*/a")))
    os.kill(victim.pid, signal.SIGKILL)
    victim.join()
    assert list(home.glob(".partial-m-*"))
    assert not (home / "m").exists()
    assert names(cache.publish(home / "m", fill=fill_two)) == ["a", "b"]
    assert names(home) == ["m"]


def test_entries_do_not_take_each_others_unfinished_work_for_leftovers(home):
    def fill(folder):
        cache.publish(home / "m-2", fill=fill_two)
        fill_two(folder)

    cache.publish(home / "m", fill=fill)
    assert names(home) == ["m", "m-2"]


def test_private_files_become_as_readable_as_their_folder(home):
    def fill(folder):
        (folder / "a").write_text("a")
        (folder / "a").chmod(0o600)

    folder = cache.publish(home / "m", fill=fill)
    assert (folder / "a").stat().st_mode & 0o666 == folder.stat().st_mode & 0o666


def test_unwritable_cache_names_the_way_out(tmp_path):
    def fill(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(ModelError, match=r"No space left.*TUNESMITH_HOME"):
        cache.publish(tmp_path / "m", fill=fill)


def test_atomic_text_replaces_or_leaves(tmp_path):
    path = tmp_path / "deep" / "t"
    cache.write_text_atomically(path, "one")
    with pytest.raises(UnicodeEncodeError):
        cache.write_text_atomically(path, "\ud800")
    assert path.read_text() == "one"
    assert names(path.parent) == ["t"]


def wait_for(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)
