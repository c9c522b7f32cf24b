"""A lock has one holder at a time, and a dead one holds nothing."""

import multiprocessing
import os
import signal
import threading

import pytest
from filelock import FileLock

from tunesmith.core import locks

FORK = multiprocessing.get_context("fork")


def refuse():
    raise ValueError("taken")


def hold(path, ready, go_on):
    with locks.held(path, taken=refuse):
        ready.set()
        go_on.wait()


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until it is told to go on."""
    ready, go_on = FORK.Event(), FORK.Event()
    process = FORK.Process(target=hold, args=(tmp_path / "l", ready, go_on))
    process.start()
    assert ready.wait(20)
    yield process, go_on
    process.kill()
    process.join()


def test_who_is_refused_does_not_come_in(tmp_path, holder):
    with pytest.raises(ValueError, match="taken"), locks.held(tmp_path / "l", taken=refuse):
        pytest.fail("two at once")


def test_who_is_not_refused_waits(tmp_path, holder):
    process, go_on = holder
    with locks.held(tmp_path / "l", taken=go_on.set):
        process.join(20)
        assert process.exitcode == 0


def test_a_killed_holder_holds_nothing(tmp_path, holder):
    process, _ = holder
    assert locks.is_held(tmp_path / "l")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not locks.is_held(tmp_path / "l")
    with locks.held(tmp_path / "l", taken=refuse):
        assert locks.is_held(tmp_path / "l")


def test_a_lock_that_may_only_be_read_is_seen_as_held(tmp_path, holder, monkeypatch):
    process, go_on = holder

    class Refused(FileLock):
        def acquire(self, **_):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(locks, "FileLock", Refused)
    assert locks.is_held(tmp_path / "l")
    go_on.set()
    process.join(20)
    assert not locks.is_held(tmp_path / "l")


def test_who_only_asks_leaves_nothing(tmp_path):
    assert not locks.is_held(tmp_path / "l")
    assert list(tmp_path.iterdir()) == []


def test_an_asker_is_no_holder(tmp_path, monkeypatch):
    """Asking takes the lock for an instant; whoever comes then is not refused."""
    monkeypatch.setattr(locks, "PATIENCE_SECONDS", 20)
    asking = FileLock(tmp_path / "l", thread_local=False)
    asking.acquire()
    threading.Timer(0.1, asking.release).start()
    with locks.held(tmp_path / "l", taken=refuse):
        assert not asking.is_locked
