"""A run that is killed at any moment and resumed ends in the same bytes as the unbroken one."""

import os
import random
import signal
import subprocess
import sys

import pytest
import yaml

from tests.runs.tiny import config

# Forks a process for each line that it reads, `RUN CONFIG SECONDS`, in which the system ends it
# after that much of its own computing (0: never), whatever else the machine does; prints how it
# ended and how long it computed. All is imported once: a kill meets a run that trains.
FORKS = """
import os, signal, sys
from pathlib import Path
from tunesmith.config import load_run_config
from tunesmith.runs.run import resume_run, train_run
for line in sys.stdin:
    run, config, seconds = line.rstrip().split(chr(9))
    run = Path(run)
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_PROF, float(seconds))
        if (run / "config.yaml").exists():
            resume_run(run)
        else:
            train_run(load_run_config(Path(config), {"out": str(run)}))
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, flush=True)
"""
RESULT = ("adapter_model.safetensors", "adapter_config.json")


class Runs:
    """Runs of one config in a folder, each in a process that can be killed."""

    def __init__(self, folder):
        self.folder = folder
        self._parent = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TUNESMITH_HOME": str(folder / "home")},
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._parent.stdin.close()
        self._parent.wait()

    def go(self, run, *, kill_after=0.0):
        """Starts or resumes it; whether it was killed, and the seconds that it computed."""
        words = (run, self.folder / "config.yaml", kill_after)
        self._parent.stdin.write("\t".join(map(str, words)) + "\n")
        self._parent.stdin.flush()
        status, seconds = self._parent.stdout.readline().split()
        assert int(status) in (0, -signal.SIGPROF)
        return int(status) != 0, float(seconds)


def killed_and_resumed(runs, run, *, kills, whole_seconds, seed):
    """Kill at ``kills`` random moments, then let it end; how many kills met a living process."""
    rng = random.Random(seed)
    moments = [rng.uniform(0.1, 0.6) * whole_seconds for _ in range(kills)]
    met = sum(runs.go(run, kill_after=moment)[0] for moment in moments)
    assert not runs.go(run)[0]
    return met


def prepared(tmp_path, *, steps=60, **changes):
    """A config in a file, and who runs it."""
    made = config(
        tmp_path,
        train={"steps": steps, "rows_per_step": 3, "save_steps": 1, "lr": 0.01},
        **changes,
    )
    text = yaml.safe_dump(made.model_dump(mode="json", by_alias=True))
    (tmp_path / "config.yaml").write_text(text)
    return Runs(tmp_path)


def whole(runs):
    """Seconds that the unbroken run computes."""
    killed, seconds = runs.go(runs.folder / "whole")
    assert not killed
    return seconds


def assert_same_result(tmp_path, run, folder="adapter", names=RESULT):
    for name in names:
        whole, other = (tmp_path / r / folder / name for r in ("whole", run))
        assert whole.read_bytes() == other.read_bytes(), name


@pytest.mark.slow
def test_killed_twice_ends_in_the_same_bytes(tmp_path):
    with prepared(tmp_path, steps=20) as runs:
        seconds = whole(runs)
        run = tmp_path / "run"
        assert killed_and_resumed(runs, run, kills=2, whole_seconds=seconds, seed=1)
    assert_same_result(tmp_path, "run")


@pytest.mark.slow
def test_killed_twenty_times_ends_in_the_same_bytes(tmp_path):
    met = 0
    with prepared(tmp_path) as runs:
        seconds = whole(runs)
        for seed in range(5):  # five runs of four kills: later kills of one run meet its end
            run = tmp_path / f"run{seed}"
            met += killed_and_resumed(runs, run, kills=4, whole_seconds=seconds, seed=seed)
            assert_same_result(tmp_path, run.name)
    assert met >= 10


@pytest.mark.slow
def test_full_fine_tuning_killed_ends_in_the_same_bytes(tmp_path):
    with prepared(tmp_path, method={"kind": "full"}) as runs:
        seconds = whole(runs)
        run = tmp_path / "run"
        assert killed_and_resumed(runs, run, kills=4, whole_seconds=seconds, seed=7)
    assert_same_result(tmp_path, "run", "model", ("model.safetensors",))
