"""A run reports what was predicted of it, and what it took, and keeps both."""

import json
import os

import pytest

from tests.runs.tiny import config
from tunesmith.core.progress import Notice, Progress
from tunesmith.estimate import machine
from tunesmith.runs.run import train_run


def test_a_run_keeps_its_prediction_beside_what_it_took(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(machine, "PROCESS_BYTES", 400_000_000)
    monkeypatch.setattr(machine, "read", lambda device: None)
    made = config(tmp_path, evaluate={"checks": [], "forgetting": "none"})
    summary = train_run(made, progress=Progress(said.append))
    texts = [each.message for each in said if isinstance(each, Notice) and each.code == "plan"]
    assert [text.split()[0] for text in texts] == ["predicted", "measured"]
    kept = json.loads((tmp_path / "run" / "summary.json").read_text())["plan"]
    assert kept == summary.plan
    assert kept["predicted_bytes"] == 400_000_000 + sum(kept["bytes"].values())
    assert kept["measured_bytes"] > 0
    assert kept["measured_step_seconds"] > 0
    assert kept["predicted_step_seconds"] is None  # this machine was not measured


def test_the_next_plans_are_corrected_by_what_a_run_took(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    rates = {"float32": {"256": 1e10, "4096": 1e10}}
    found = machine.Machine("m", "cpu", "float32", rates, 1e10, 1e9, None, None, 0, "today")
    machine.write(found)
    machine.learn("auto", "lora", 1.5)
    assert machine.here(measure=False).corrections == {"lora": 1.5}
    machine.learn("auto", "lora", 1.0)  # as was predicted, corrected
    assert machine.here(measure=False).corrections == {"lora": 1.5}


@pytest.mark.parametrize("others", [0.0, 1.5])
def test_what_was_measured_beside_other_programs_is_not_kept(others, tmp_path, monkeypatch):
    said = []
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    monkeypatch.setattr(machine, "cores_of_others", lambda: others)
    found = machine.here(progress=Progress(said.append))
    assert found.rates["float32"] > 1e9
    assert (machine.read() is None) == bool(others)
    notices = [each.message for each in said if isinstance(each, Notice)]
    assert bool(notices) == bool(others)


def test_the_cores_of_others_are_counted():
    assert 0.0 <= machine.cores_of_others(0.05) <= 2.0 * (os.cpu_count() or 1)
