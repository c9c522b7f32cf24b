import json
import os
from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path):
    run = tmp_path / "runs" / "one"
    (run / "adapter").mkdir(parents=True)
    (run / "config.yaml").write_text("model: m\nmethod: {kind: lora}\n")
    losses = [3.0, 2.0, 1.0]
    lines = [json.dumps({"step": i + 1, "tokens": 10, "loss": x}) for i, x in enumerate(losses)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 4, "lo')
    planned = {"event": "planned", "steps": 9}
    (run / "events.jsonl").write_text(json.dumps(planned) + "\n")
    return run.parent


def test_runs_are_listed_with_state_and_losses(root, tunesmith):
    ended = tunesmith("runs", "list", "--root", root)
    assert ended.status == 0
    row = ended.out.splitlines()[1].split()
    assert row == ["one", "interrupted", "lora", "m", "3/9", "1.000"]


def test_runs_are_one_document(root, tunesmith):
    (run,) = tunesmith("runs", "list", "--root", root, "--json").document["runs"]
    assert (run["state"], run["steps"], run["train_loss"]) == ("interrupted", 3, 1.0)


def test_no_runs_are_no_error(tmp_path, tunesmith):
    ended = tunesmith("runs", "list", "--root", tmp_path)
    assert ended.status == 0
    assert "No runs in" in ended.out
    assert tunesmith("runs", "list", "--root", tmp_path, "--json").document == {"runs": []}


def test_a_run_is_shown_with_its_curve_config_and_next_commands(root, tunesmith):
    ended = tunesmith("runs", "show", "one", "--root", root)
    assert "interrupted after 3 of 9 steps" in ended.out
    assert "training loss: █▅▁ 3.000 -> 1.000" in ended.out
    assert "model: m" in ended.out
    assert f"tunesmith train --resume {root / 'one'}" in ended.out
    assert f"tunesmith chat {root / 'one'}" in ended.out


def test_a_shown_run_is_one_document(root, tunesmith):
    document = tunesmith("runs", "show", root / "one", "--json").document
    assert document["losses"] == [3.0, 2.0, 1.0]
    assert document["config"]["model"] == "m"
    assert len(document["next"]) == 2


def test_a_run_that_is_not_there_is_refused_with_those_that_are(root, tunesmith):
    ended = tunesmith("runs", "show", "two", "--root", root)
    assert ended.status == 1
    assert "holds one" in ended.err


def test_a_folder_that_may_not_be_read_is_a_refusal_and_no_wrong_usage(
    root, tunesmith, monkeypatch
):
    """As root every folder may be read: what the system would say is said here."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    monkeypatch.setattr(Path, "iterdir", refuse)
    ended = tunesmith("runs", "list", "--root", root)
    assert ended.status == 1
    assert f"{root}: cannot be read: Permission denied" in ended.err
    assert "--root" in ended.err
