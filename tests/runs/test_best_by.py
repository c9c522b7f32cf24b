"""Whole runs whose best checkpoint is the one of most held-out tokens right."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.ranks import all_of
from tests.runs.test_training_answers import ending, held, trained
from tunesmith.core.progress import Progress
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.run import resume_run, train_run
from tunesmith.training import held_out
from tunesmith.training.events import StepDone

STEPS = {"steps": 12, "evaluate_steps": 3, "save_steps": 3}
EXACT = {"checks": [{"kind": "exact"}]}
SEEN = [(1.5, 0.6), (1.4, 0.7), (1.6, 0.9), (1.7, 0.8)]  # loss and tokens right, in order


@pytest.fixture
def decided(monkeypatch):
    """Held-out scores by which the third checkpoint is the best, whatever is trained; gives what
    was asked so far.
    """
    seen = []

    def next_scores(*_, **__):
        seen.append(SEEN[len(seen)])
        return held_out.HeldOutScores(*seen[-1])

    monkeypatch.setattr(held_out, "held_out_scores", next_scores)
    return seen


@pytest.mark.parametrize(
    ("evaluate", "train", "best_by"),
    [
        (EXACT, {}, "token_accuracy"),
        (EXACT, {"best_by": "loss"}, "loss"),
        ({}, {}, "auto"),  # a rule about the answer alone
        ({"checks": []}, {}, "auto"),
    ],
)
def test_auto_is_tokens_where_answers_are_compared(tmp_path, evaluate, train, best_by):
    train_run(ending(tmp_path, train={**STEPS, **train}, evaluate=evaluate))
    assert RunFolder(tmp_path / "run").read_config().train.best_by == best_by
    assert all(0 <= line["token_accuracy"] <= 1 for line in held(tmp_path / "run"))


def test_the_result_is_the_checkpoint_of_most_tokens_and_the_run_says_why(tmp_path, decided):
    heard = []
    found = train_run(
        ending(tmp_path, train=STEPS, evaluate=EXACT), progress=Progress(heard.append)
    )
    assert decided == SEEN
    assert found.eval_loss == 1.6
    best = load_file(next((tmp_path / "run" / "checkpoints" / "best").glob("*.safetensors")))
    sums = [
        sorted(float(t.sum()) for t in each.values())
        for each in (best, trained(tmp_path / "run" / "adapter"))
    ]
    assert sums[0] == sums[1]
    said = [e.message for e in heard if getattr(e, "code", None) == "best_by"]
    assert said == [
        "step 6 has the lowest held-out loss (1.40), but 70.00 % of the held-out tokens are right "
        "there, and 90.00 % at step 9 (1.60)"
    ]
    choice = [e for e in heard if e.name == "bestcheckpoint"]
    assert [(e.step, e.checkpoints[-1]["ruled_out"]) for e in choice] == [(9, "tokens")]


@pytest.mark.parametrize("stop", [4, 7, 10])
def test_a_resumed_run_has_the_same_best(tmp_path, decided, stop):
    whole, broken = (ending(tmp_path, train=STEPS, evaluate=EXACT, out=out) for out in ("a", "b"))
    train_run(whole)
    decided.clear()
    steps = []

    def heard(event):
        steps.extend([event] if isinstance(event, StepDone) else [])

    train_run(broken, progress=Progress(heard, cancelled=lambda: len(steps) >= stop))
    resume_run(tmp_path / "b")
    assert held(tmp_path / "a") == held(tmp_path / "b")
    expected = trained(tmp_path / "a" / "adapter")
    for name, tensor in trained(tmp_path / "b" / "adapter").items():
        assert torch.equal(tensor, expected[name]), name


def test_a_run_of_a_version_without_it_ends_by_the_loss(tmp_path, decided):
    """Its events have no token accuracy, its checkpoints none of the best."""
    steps = []

    def heard(event):
        steps.extend([event] if isinstance(event, StepDone) else [])

    made = ending(tmp_path, train={**STEPS, "best_by": "loss"}, evaluate=EXACT)
    train_run(made, progress=Progress(heard, cancelled=lambda: len(steps) >= 7))
    run = tmp_path / "run"
    values = yaml.safe_load((run / "config.yaml").read_text())
    del values["train"]["best_by"]
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    former = [{k: v for k, v in line.items() if k != "token_accuracy"} for line in lines]
    (run / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in former))
    for state in run.glob("checkpoints/*/state.json"):
        kept = json.loads(state.read_text())
        del kept["best_accuracy"]
        state.write_text(json.dumps(kept))
    assert resume_run(run).eval_loss == 1.4
    assert RunFolder(run).read_config().train.best_by == "loss"


@pytest.mark.slow
def test_ranks_have_the_best_of_one(tmp_path):
    def run(out):
        return train_run(ending(tmp_path, train=STEPS, evaluate=EXACT, out=out)).eval_loss

    ending(tmp_path)  # writes base and rows
    all_of(1, lambda: run("one"))
    all_of(2, lambda: run("two"))
    one, two = (
        [(h["best"], h["token_accuracy"]) for h in held(tmp_path / out)] for out in ("one", "two")
    )
    assert one == two
