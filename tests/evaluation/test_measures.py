"""A judged run is measured further: asked again, its facts, its losses, its rank, and its page."""

import json

import pytest

from tests.runs.tiny import config
from tunesmith.core.errors import ModelError
from tunesmith.core.progress import Phase, Progress
from tunesmith.evaluation import measures
from tunesmith.evaluation.comparison import TUNED
from tunesmith.report.writing import write_report
from tunesmith.runs.evaluate import evaluate_target
from tunesmith.runs.run import train_run
from tunesmith.studies.compare import compare_runs
from tunesmith.studies.variants import Variant


def made(folder, **changes):
    questions = folder / "facts.jsonl"
    rows = [{"query": f"what comes of {i}?", "answer": f"it is {i * 7}"} for i in range(4)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluate = {
        "checks": [{"kind": "exact"}],
        "max_new_tokens": 4,
        "forgetting": "none",
        "examples": 0,
        "timed_rows": 0,
        "baseline_prompt": "be short and say what it is",
        "consistency": {"samples": 2, "rows": 3, "paraphrases": 1},
        "knowledge": str(questions),
    }
    return config(folder, evaluate=evaluate, **changes)


@pytest.mark.rendered
@pytest.mark.parametrize("method", [{"kind": "lora", "rank": 2}, {"kind": "full"}])
def test_every_part_is_measured_in_every_arm_that_it_has(tmp_path, method):
    found = train_run(made(tmp_path, method=method)).evaluation
    assert set(found["consistency"]["samples"]["arms"]) == {"base", "prompted", TUNED}
    assert found["knowledge"]["text"]
    assert found["overfitting"]["text"]
    assert (found["capacity"] is None) == (method["kind"] == "full")
    assert set(found["degeneration"]["arms"]) == set(found["arms"])
    for part in ("verdict", "degeneration", "consistency", "knowledge", "overfitting"):
        assert set(found[part]["texts"]) == {"en", "ko"}
        assert found[part]["texts"]["en"] == found[part]["text"]
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text()) == found
    page = write_report(tmp_path / "run").read_text()
    assert found["report"] == str(tmp_path / "run" / "report.html")
    assert "section-consistency" in page


@pytest.mark.parametrize("method", [{"kind": "lora", "rank": 2}, {"kind": "full"}])
def test_evaluating_again_finds_the_same(tmp_path, method):
    first = train_run(made(tmp_path, method=method)).evaluation
    again = evaluate_target(str(tmp_path / "run"), {}).document
    for part in ("degeneration", "consistency", "knowledge", "capacity"):
        assert again[part] == first[part]
    assert again["overfitting"]["text"] == first["overfitting"]["text"]


def test_what_cannot_be_measured_is_told_and_loses_nothing(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise ModelError("the embedder is gone", remedy="get it")

    monkeypatch.setattr(measures.ConsistencyRun, "assess", refuse)
    summary = train_run(made(tmp_path))
    assert summary.evaluation["consistency"] is None
    assert summary.evaluation["overfitting"] is not None
    assert any("the embedder is gone" in notice for notice in summary.notices)


@pytest.mark.parametrize(
    "phase", ["asking again (base)", "asking facts in other words (tuned)", "losses of trained"]
)
def test_a_stop_within_a_measure_stops_the_run_and_going_on_finishes_it(tmp_path, phase):
    seen = []

    def emit(event):
        if isinstance(event, Phase) and event.phase.startswith(phase):
            seen.append(event)

    summary = train_run(made(tmp_path), progress=Progress(emit, cancelled=lambda: bool(seen)))
    assert summary.reason == "stopped"
    assert not (tmp_path / "run" / "evaluation.json").exists()


def test_runs_of_a_comparison_ask_the_base_once(tmp_path, monkeypatch):
    asked, told = [], []
    draw, ask = measures.ConsistencyRun.draw, measures.ask_facts

    def drawn(self, loaded, arm, *, phase):
        asked.append(phase._name)
        return draw(self, loaded, arm, phase=phase)

    def facts(loaded, sheet, settings, *, who, phase):
        told.append(who.adapter)
        return ask(loaded, sheet, settings, who=who, phase=phase)

    monkeypatch.setattr(measures.ConsistencyRun, "draw", drawn)
    monkeypatch.setattr(measures, "ask_facts", facts)
    base = made(tmp_path)
    variants = [
        Variant(name, base.model_copy(update={"train": base.train.model_copy(update={"seed": 0})}))
        for name in ("a", "b")
    ]
    found = compare_runs(variants, tmp_path / "all")
    names = ["base", "prompted", TUNED, TUNED]
    assert sorted(asked) == [f"asking again ({name})" for name in names]
    assert sorted(map(str, told)) == ["None", "a", "b"]
    assert write_report(tmp_path / "all").exists()
    assert found.to_json()["report"] == str(tmp_path / "all" / "report.html")
