"""`recommend` and `plan --goal`: from a config to an answer with its reasons."""

import json

import pytest

import tunesmith as ts
from tests.runs.tiny import UNMEASURED, base_folder
from tunesmith.core.errors import DataError, UsageError
from tunesmith.estimate import machine
from tunesmith.estimate.devices import Device

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A config over a tiny base, on a machine that was not measured."""
    here = Device("here", "this machine", "cpu", 16 * 10**9, 12 * 10**9)
    monkeypatch.setattr(machine, "here", lambda *_, **__: here)
    base = base_folder(tmp_path / "base")
    labels = ("red", "green", "blue")
    rows = [
        {"prompt": f"which colour has {i * 7919}?", "completion": labels[i % 3]} for i in range(120)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "model": str(base),
        "dtype": "float32",
        "data": {"train": str(tmp_path / "rows.jsonl"), "eval": 0.3},
        "evaluate": {
            "checks": [{"kind": "label"}],
            "max_new_tokens": 4,
            **UNMEASURED,
            "timed_rows": 0,
        },
        "train": {"retention": "none"},
        "out": str(tmp_path / "probe"),
    }


def test_a_goal_and_rows_give_a_method_with_its_reasons(made):
    found = ts.recommend(made, goal="Name the colour, in a tiny adapter", progress=False)
    assert (found.way, found.method) == ("fine-tune", "prompt")
    document = found.to_json()
    assert document["decisions"][0]["answer"] == "fine-tune"
    assert document["evidence"]
    assert "Which method?" in str(found)
    assert "docs/methods.md" in str(found)


def test_a_plan_has_the_recommendation_above_its_table(made):
    asked = {**made, "goal": "Answer with today's prices", "evaluate": {}}
    found = ts.plan(asked, progress=False)
    assert found.to_json()["recommendation"]["way"] == "retrieval"
    text = str(found)
    assert text.index("Recommended: retrieval") < text.index("method")
    assert ts.plan(made, progress=False).to_json()["recommendation"] is None


def test_nonsense_is_refused(made):
    with pytest.raises(UsageError, match="rests on a goal"):
        ts.recommend(made, progress=False)
    with pytest.raises(UsageError, match="learned from rows, and none are named"):
        ts.plan(made["model"], settings={"goal": "Reply politely"}, progress=False)
    without = {**made, "data": {**made["data"], "eval": 0.0}}
    with pytest.raises(DataError, match="held-out rows"):
        ts.recommend(without, goal="Name the colour", probe_minutes=0.01, progress=False)


def test_a_probe_runs_the_candidates_and_decides_by_what_it_measured(made):
    found = ts.recommend(made, goal="Name the colour", probe_minutes=0.02, progress=False)
    last = found.to_json()["decisions"][-1]
    assert last["question"] == "Which method, by measurement?"
    assert found.method in ("prompt", "p-tuning", "lora")
    assert {line.split(":")[0] for line in last["evidence"]} == {"prompt", "p-tuning", "lora"}
    assert "were run" in found.to_json()["decisions"][0]["reason"]
