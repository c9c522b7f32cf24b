"""A training tells of others that share its device, and of no one else."""

import json
import multiprocessing
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from tunesmith.core.errors import ModelError
from tunesmith.runs import neighbours
from tunesmith.runs.folder import alone
from tunesmith.runs.neighbours import announced

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def two_cores(home, monkeypatch):
    monkeypatch.setattr(neighbours, "usable_cores", lambda: 2)


def train(run, threads, ready, end):
    run.mkdir(parents=True, exist_ok=True)
    with alone(run), announced(run, device="cpu", threads=threads):
        ready.set()
        end.wait()


@contextmanager
def another(run, *, threads=2):
    """A training in a process of its own."""
    ready, end = FORK.Event(), FORK.Event()
    process = FORK.Process(target=train, args=(run, threads, ready, end))
    process.start()
    assert ready.wait(20)
    try:
        yield process
    finally:
        if process.is_alive():  # telling a dead one would wait for ever
            end.set()
        process.join()


def notice_of(run, *, threads=2):
    run.mkdir(parents=True, exist_ok=True)
    with alone(run), announced(run, device="cpu", threads=threads) as notice:
        return notice


def markers(home):
    return list((home / "running").iterdir())


def test_a_training_alone_is_told_of_no_one_and_leaves_nothing(tmp_path, home):
    assert notice_of(tmp_path / "a") is None
    assert markers(home) == []


def test_a_second_training_is_told_of_the_first_and_both_go_on(tmp_path, monkeypatch, home):
    monkeypatch.chdir(tmp_path)
    with another(tmp_path / "runs" / "x") as first:
        notice = notice_of(tmp_path / "runs" / "y")
        assert first.is_alive()
    assert first.exitcode == 0
    assert notice.message.startswith(f"another training runs here ({Path('runs/x')}, 20")
    assert "both will be slow" in notice.message
    assert "train.threads (4 threads on 2 cores)" in notice.message
    assert notice_of(tmp_path / "runs" / "y") is None
    assert markers(home) == []


def test_trainings_whose_threads_have_room_side_by_side_are_not_told(tmp_path):
    with another(tmp_path / "x", threads=1):
        assert notice_of(tmp_path / "y", threads=1) is None
        assert notice_of(tmp_path / "y", threads=2) is not None


def test_all_of_several_are_told(tmp_path):
    with another(tmp_path / "x"), another(tmp_path / "z"):
        message = notice_of(tmp_path / "y").message
    assert message.startswith("2 other trainings run here")
    assert all(str(tmp_path / name) in message for name in "xz")


def test_a_killed_training_is_not_told_of_and_its_marker_goes(tmp_path, home):
    with another(tmp_path / "x") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert len(markers(home)) == 1
        assert notice_of(tmp_path / "y") is None
        assert markers(home) == []


@pytest.mark.parametrize("changes", [{"host": "elsewhere"}, {"device": "cuda:0"}])
def test_another_machine_or_device_is_not_told_of_and_keeps_its_marker(tmp_path, home, changes):
    with another(tmp_path / "x"):
        (marker,) = markers(home)
        marker.write_text(json.dumps({**json.loads(marker.read_text()), **changes}))
        assert notice_of(tmp_path / "y") is None
        assert markers(home) == [marker]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"threads": "two"}'])
def test_a_marker_that_cannot_be_read_stops_no_one(tmp_path, home, text):
    (home / "running").mkdir(parents=True)
    (home / "running" / "a.json").write_text(text)
    assert notice_of(tmp_path / "y") is None


def test_a_cache_that_cannot_be_written_stops_no_one(tmp_path, home):
    home.write_text("a file")
    assert notice_of(tmp_path / "y") is None


def test_a_device_that_is_not_here_is_refused_and_leaves_nothing(tmp_path, home):
    with pytest.raises(ModelError), announced(tmp_path, device="tpu", threads=None):
        pytest.fail("not reached")
    assert not home.exists()
