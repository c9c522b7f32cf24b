"""The result of a run is its best checkpoint: held-out loss and forgetting, weighed in nats."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.runs.tiny import config
from tunesmith.evaluation.forgetting import Forgetting
from tunesmith.evaluation.forgetting import ProbeFinding as Finding
from tunesmith.evaluation.intervals import Interval
from tunesmith.runs.run import train_run
from tunesmith.runs.selection import KeptCheckpoint, choose_kept, rise_of
from tunesmith.training import checkpoint


def forgetting(*rises, part=False):
    there = Interval(0.0, 0.0, 0.0, 3)
    found = [
        Finding("p", "perplexity", 10.0, 10.0 * math.exp(r), there, 0.1, "kept", None, {}, part)
        for r in rises
    ]
    asked = Finding("q", "accuracy", 0.5, 0.1, there, 0.1, "kept", None, {})
    return Forgetting((asked, *found), 0.95)


def kept(**losses):
    return [KeptCheckpoint(int(s[1:]), Path(s), loss) for s, loss in losses.items()]


def measured(rises):
    asked = []

    def forgotten(folder, _by_all):
        asked.append(folder.name)
        return forgetting(rises[folder.name])

    return asked, forgotten


def test_the_rise_of_texts_counts_and_answers_do_not():
    assert rise_of(forgetting(0.1, 0.3)) == pytest.approx(0.2)
    assert rise_of(forgetting()) == 0
    assert rise_of(forgetting(0.1, part=True)) == 0


def test_without_probes_the_loss_decides():
    chosen = choose_kept(kept(s1=0.9, s2=0.5, s3=0.6), None)
    assert (chosen.choice.best.step, chosen.folder, chosen.forgetting) == (2, Path("s2"), None)
    assert choose_kept(kept(s3=0.6), None) is None


def test_what_cannot_win_is_not_measured():
    asked, forgotten = measured({"s3": 0.05})
    chosen = choose_kept(kept(s1=0.9, s2=0.56, s3=0.5), forgotten)
    assert asked == ["s3"]
    assert (chosen.choice.reason, chosen.choice.best.step) == ("last", 3)
    assert [each.forgotten for each in chosen.choice.checkpoints] == [
        None,
        None,
        pytest.approx(0.05),
    ]


def test_what_some_probes_found_is_not_taken_for_all():
    asked = []

    def forgotten(folder, by_all):
        asked.append((folder.name, by_all))
        rises = {"s2": 0.0, "s3": 0.5}
        return replace(forgetting(rises[folder.name]), is_whole=by_all)

    assert choose_kept(kept(s2=0.56, s3=0.5), forgotten).forgetting is None
    assert asked == [("s3", True), ("s2", False)]
    assert choose_kept(kept(s2=0.5, s3=0.56), forgotten).forgetting is not None


def test_one_that_forgot_less_is_taken_with_its_reason():
    asked, forgotten = measured({"s3": 0.3, "s2": 0.01})
    chosen = choose_kept(kept(s1=0.9, s2=0.56, s3=0.5), forgotten)
    assert asked == ["s3", "s2"]
    assert (chosen.choice.reason, chosen.folder) == ("less-forgotten", Path("s2"))
    assert rise_of(chosen.forgetting) == pytest.approx(0.01)


TOO_FAST = {"rows_per_step": 3, "save_steps": 4, "schedule": "constant", "retention": "none"}


@pytest.mark.parametrize(("kind", "lr", "steps"), [("lora", 10.0, 16), ("full", 0.3, 12)])
def test_the_result_is_the_checkpoint_that_was_chosen(tmp_path, kind, lr, steps):
    train = {**TOO_FAST, "lr": lr, "steps": steps, "best_by": "loss"}
    summary = train_run(config(tmp_path, method={"kind": kind}, train=train))
    run = tmp_path / "run"
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["loss"] for line in lines if line["event"] == "heldout"}
    best = min(losses, key=lambda step: losses[step])
    assert best < steps, "the rate must be too large for this test"
    assert summary.eval_loss == losses[best]
    found = summary.evaluation["overfitting"]["checkpoint"]
    assert (found["step"], found["reason"]) == (best, "highest")
    assert any(line.get("code") == "best" for line in lines)
    assert f"step {best}" in summary.evaluation["overfitting"]["text"]
    assert "forgotten" not in summary.evaluation["overfitting"]["text"]  # it was not measured
    if kind == "lora":
        saved = load_file(run / "adapter" / "adapter_model.safetensors")
        kept_there = checkpoint.tensors_of(run / "checkpoints" / "best")
        last = checkpoint.tensors_of(run / "checkpoints" / f"step-{steps:08d}")
        total = sum(float(t.double().sum()) for t in saved.values())
        same = sum(float(t.double().sum()) for t in kept_there.values())
        assert total == pytest.approx(same, rel=1e-5)
        assert total != pytest.approx(sum(float(t.double().sum()) for t in last.values()), rel=1e-5)
