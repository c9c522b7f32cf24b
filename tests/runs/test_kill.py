"""A run that is killed at any moment and resumed ends in the same bytes as the unbroken one."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.runs.tiny import config

GO_ON = """
import sys
from pathlib import Path
from tunesmith.config import load_run_config
from tunesmith.runs.run import resume_run, train_run
folder, run = Path(sys.argv[1]), Path(sys.argv[2])
if (run / "config.yaml").exists():
    resume_run(run, emit=lambda event: None)
else:
    train_run(load_run_config(Path(sys.argv[3]), {"out": str(run)}), emit=lambda event: None)
"""
RESULT = ("adapter_model.safetensors", "adapter_config.json")


def start(folder, run):
    return subprocess.Popen(
        [sys.executable, "-c", GO_ON, str(folder), str(run), str(folder / "config.yaml")],
        stderr=subprocess.PIPE,
        env={**os.environ, "TUNESMITH_HOME": str(folder / "home")},
    )


def killed_and_resumed(folder, run, *, kills, whole_seconds, seed):
    """Kill at ``kills`` random moments, then let it end; how many kills met a living process."""
    rng = random.Random(seed)
    met = 0
    for _ in range(kills):
        process = start(folder, run)
        try:
            _, errors = process.communicate(timeout=rng.uniform(0.3, 1.0) * whole_seconds)
            assert process.returncode == 0, errors.decode()
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            met += 1
    process = start(folder, run)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return met


def prepared(tmp_path, **changes):
    made = config(
        tmp_path,
        train={"steps": 60, "rows_per_step": 3, "checkpoint_steps": 1, "lr": 0.01},
        **changes,
    )
    import yaml

    text = yaml.safe_dump(made.model_dump(mode="json", by_alias=True))
    (tmp_path / "config.yaml").write_text(text)
    begin = time.monotonic()
    process = start(tmp_path, tmp_path / "whole")
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return time.monotonic() - begin


def assert_same_result(tmp_path, run, folder="adapter", names=RESULT):
    for name in names:
        whole, other = (tmp_path / r / folder / name for r in ("whole", run))
        assert whole.read_bytes() == other.read_bytes(), name


def test_killed_three_times_ends_in_the_same_bytes(tmp_path):
    seconds = prepared(tmp_path)
    assert killed_and_resumed(tmp_path, tmp_path / "run", kills=3, whole_seconds=seconds, seed=1)
    assert_same_result(tmp_path, "run")


@pytest.mark.slow
def test_killed_twenty_times_ends_in_the_same_bytes(tmp_path):
    seconds = prepared(tmp_path)
    met = 0
    for seed in range(5):  # five runs of four kills: later kills of one run meet its end
        run = f"run{seed}"
        met += killed_and_resumed(
            tmp_path, tmp_path / run, kills=4, whole_seconds=seconds, seed=seed
        )
        assert_same_result(tmp_path, run)
    assert met >= 10  # a busy machine moves the moments


@pytest.mark.slow
def test_full_fine_tuning_killed_ends_in_the_same_bytes(tmp_path):
    seconds = prepared(tmp_path, method={"kind": "full"})
    assert killed_and_resumed(tmp_path, tmp_path / "run", kills=4, whole_seconds=seconds, seed=7)
    assert_same_result(tmp_path, "run", "model", ("model.safetensors",))
