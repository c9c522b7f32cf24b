"""Answers to training rows in whole runs: what they are, resumed, by ranks, and who has none."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.ranks import all_of
from tests.runs.tiny import LETTERS, UNMEASURED, config, talking_base
from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config.run import ANSWERED
from tunesmith.core.errors import ConfigError
from tunesmith.core.progress import SILENT, Cancelled, Progress
from tunesmith.data.dataset import RunRows
from tunesmith.data.rows import Message
from tunesmith.evaluation.training_answers import TrainingAnswers, training_answers
from tunesmith.runs import selection
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.rows import load_rows_for
from tunesmith.runs.run import resume_run, train_run
from tunesmith.runs.sharding import open_for_ranks
from tunesmith.training import held_out
from tunesmith.training.events import HeldOut, StepDone
from tunesmith.training.held_out import HeldOutScores

TRAIN = {"rows_per_step": 3, "lr": 0.002, "retention": "none", "tokens_per_micro_batch": 64}
ENDING = {"kind": "ends_with", "endings": ["c"]}
EVALUATE = {"checks": [ENDING], "max_new_tokens": 6, **UNMEASURED, "timed_rows": 0}


def ending(folder, *, train=None, evaluate=None, out="run", ends="c", **more):
    """A run whose rows end in one letter (``ends``: or in these, in turn)."""
    if not (folder / "base").exists():
        talking_base(folder / "base")
    made = [
        {"prompt": f"{LETTERS[i % 8]} {LETTERS[i // 8]}", "completion": f"b {ends[i % len(ends)]}"}
        for i in range(24)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    return config(
        folder,
        train={**TRAIN, **(train or {})},
        evaluate={**EVALUATE, **(evaluate or {})},
        out=str(folder / out),
        **more,
    )


def answers_of(made):
    """What its training rows are asked, with the rows."""
    loaded = open_for_ranks(made, progress=SILENT)
    rows = load_rows_for(made, loaded, None)
    return loaded, rows, training_answers(loaded, made, rows, adapter=None)


def held(folder):
    return [line for line in lines(folder / "events.jsonl") if line["event"] == HeldOut.name]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_share_is_that_of_the_answers_that_a_run_would_give(tmp_path):
    """Of training rows alone, and of those whose own answers pass."""
    made = ending(tmp_path, ends="ccd", train={"answer_rows": 12})
    _, rows, asked = answers_of(made)
    trained = {row.line for row in rows.sample}
    assert 0 < len(asked.questions) <= 12
    assert {question.line for question in asked.questions} <= trained
    assert all(question.reference.endswith("c") for question in asked.questions)
    own = [question.reference for question in asked.questions]
    said = iter(own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tunesmith.evaluation.training_answers.answers_now",
            lambda *_, **__: [next(said), *["b d"] * (len(own) - 1)],
        )
        assert asked.passed() == pytest.approx(1 / len(own))
    assert 0 <= asked.passed() <= 1
    assert asked.seconds() > 0


@pytest.mark.parametrize(
    "change",
    [
        {"train": {"answer_rows": 0}},
        {"train": {"answer_rows": "auto"}},
        {"ends": "d"},  # no row's own answer passes
    ],
)
def test_there_are_none_where_none_is_asked_for_or_could_pass(tmp_path, change):
    made = ending(tmp_path, **{"train": {"answer_rows": 4}, **change})
    assert answers_of(made)[2] is None


def test_rows_without_questions_have_none(tmp_path):
    made = ending(tmp_path, train={"answer_rows": 4})
    loaded, rows, _ = answers_of(made)
    bare = RunRows(rows.train, rows.held, rows.held_conversations, rows.copies)
    assert training_answers(loaded, made, bare, adapter=None) is None
    assert isinstance(loaded, LoadedBase)


def test_a_run_answers_them_and_its_folder_says_so(tmp_path):
    heard = []
    run = ending(tmp_path, train={"epochs": "auto", "rows_per_step": None})
    train_run(run, progress=Progress(on_event=heard.append))
    found = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["train"]
    assert found["answer_rows"] == ANSWERED
    losses = [line["loss"] for line in held(tmp_path / "run")]
    rises = any(later > earlier for earlier, later in pairwise(losses))
    assert bool(RunFolder(tmp_path / "run").passed()) == rises
    reasons = [e.message for e in heard if getattr(e, "code", None) == "length"]
    assert "gets most of 19 training rows right" in reasons[0]


@pytest.mark.parametrize("checks", [[], [{"kind": "exact"}], [{"kind": "exact"}, ENDING]])
def test_auto_answers_none_where_no_rule_decides(tmp_path, checks):
    """What is compared with a reference can be memorized."""
    made = ending(tmp_path, train={"epochs": "auto"}, evaluate={"checks": checks})
    train_run(made)
    assert all(line["passed"] is None for line in held(tmp_path / "run"))


@pytest.mark.parametrize("checks", [[], [{"kind": "style"}]])
def test_a_number_of_them_without_a_check_that_can_score_them_is_refused(tmp_path, checks):
    made = ending(tmp_path, train={"steps": 4, "answer_rows": 4}, evaluate={"checks": checks})
    with pytest.raises(ConfigError, match="answer_rows"):
        train_run(made)
    assert not (tmp_path / "run").exists()


STEPS = {"steps": 12, "evaluate_steps": 3, "save_steps": 3, "answer_rows": 8}


LOSSES = [1.5, 1.4, 1.6, 1.7]  # of each held-out loss, in order
SHARES = [0.5, 0.9, 0.6]  # of the second, as the best before, the third and the fourth


@pytest.fixture
def decided(monkeypatch):
    """Held-out losses and answers by which the third checkpoint is the best, whatever is trained;
    gives what was asked so far.
    """
    losses, shares = [], []

    def told(seen, values):
        seen.append(values[len(seen)])
        return seen[-1]

    monkeypatch.setattr(
        held_out, "held_out_scores", lambda *_, **__: HeldOutScores(told(losses, LOSSES), 0.5)
    )
    monkeypatch.setattr(TrainingAnswers, "passed", lambda *_: told(shares, SHARES))
    return losses, shares


def trained(folder):
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def test_the_result_is_the_best_checkpoint_and_the_run_says_why(tmp_path, decided):
    heard = []
    found = train_run(ending(tmp_path, train=STEPS), progress=Progress(heard.append))
    assert found.eval_loss == 1.6
    assert decided == (LOSSES, SHARES)
    best = trained(tmp_path / "run" / "checkpoints" / "best")
    saved = trained(tmp_path / "run" / "adapter")
    assert sorted(map(float, map(torch.sum, saved.values()))) == sorted(
        map(float, map(torch.sum, best.values()))
    )
    said = [e.message for e in heard if getattr(e, "code", None) in ("best_by", "best")]
    assert said == [
        "The checkpoint of step 9 is the best: held-out loss 1.60; at the end 1.70 (nats a token).",
        "step 6 has the lowest held-out loss (1.40), but 50 % of the answers to training rows "
        "pass the first check there, and 90 % at step 9 (1.60)",
    ]


@pytest.mark.parametrize("stop", [4, 7, 10])
def test_a_resumed_run_has_the_same_answers_and_the_same_best(tmp_path, decided, stop):
    whole, broken = (ending(tmp_path, train=STEPS, out=out) for out in ("a", "b"))
    train_run(whole)
    for seen in decided:
        seen.clear()
    steps = []

    def heard(event):
        steps.extend([event] if isinstance(event, StepDone) else [])

    train_run(broken, progress=Progress(heard, cancelled=lambda: len(steps) >= stop))
    resume_run(tmp_path / "b")
    assert held(tmp_path / "a") == held(tmp_path / "b")
    assert [line["passed"] for line in held(tmp_path / "a")] == [None, None, *SHARES[1:]]
    expected = trained(tmp_path / "a" / "adapter")
    for name, tensor in trained(tmp_path / "b" / "adapter").items():
        assert torch.equal(tensor, expected[name]), name


def test_a_cancel_ends_the_answers_before_one_is_complete(tmp_path):
    made = ending(tmp_path, train={"answer_rows": 12})
    _, _, asked = answers_of(made)
    progress = Progress(cancelled=lambda: True)
    with pytest.raises(Cancelled):
        asked.passed(progress.quiet_phase("answering", cancels=True))


def test_rows_without_room_for_an_answer_are_not_asked(tmp_path):
    made = ending(tmp_path, train={"answer_rows": 12})
    loaded, rows, _ = answers_of(made)
    first, *others = rows.sample
    long = replace(first, messages=(Message("user", "a " * 300), *first.messages[1:]))
    cut = replace(rows, sample=(long, *others))
    asked = training_answers(loaded, made, cut, adapter=None)
    assert all(prompt.limit for prompt in asked.arm.prompts)
    assert len(asked.arm.prompts) == len(asked.questions) < 12


def test_an_answer_has_room_for_what_is_thought_before_it(tmp_path):
    made = ending(tmp_path, train={"answer_rows": 12})
    loaded, rows, asked = answers_of(made)
    longer = replace(rows.train, supervised=rows.train.supervised + 40)
    more = training_answers(loaded, made, replace(rows, train=longer), adapter=None)
    assert more.limit >= asked.limit + 32


def test_without_memory_for_answers_the_loss_alone_decides(tmp_path, decided, monkeypatch):
    def none(*_):
        raise MemoryError

    monkeypatch.setattr(TrainingAnswers, "passed", none)
    assert decided == ([], [])
    heard = []
    train_run(ending(tmp_path, train=STEPS), progress=Progress(heard.append))
    assert [line["passed"] for line in held(tmp_path / "run")] == [None] * 4
    assert any("no memory to answer" in getattr(each, "message", "") for each in heard)
    assert RunFolder(tmp_path / "run").held_out_losses()[6] == 1.4


@pytest.mark.parametrize(
    ("kind", "shard"),
    [("lora", False), ("full", True)]
    + [pytest.param(*pair, marks=pytest.mark.slow) for pair in (("lora", True), ("full", False))],
)
def test_ranks_have_the_answers_of_one(tmp_path, monkeypatch, kind, shard):
    def run(out, **more):
        seen = iter(LOSSES)
        monkeypatch.setattr(
            held_out, "held_out_scores", lambda *_, **__: HeldOutScores(next(seen), 0.5)
        )
        train = {**STEPS, **more}
        return train_run(ending(tmp_path, train=train, out=out, method={"kind": kind})).reason

    ending(tmp_path)  # writes base and rows
    all_of(1, lambda: run("one"))
    all_of(2, lambda: run("two", shard=shard))
    one, two = (
        [(line["step"], line["best"], line["passed"]) for line in held(tmp_path / out)]
        for out in ("one", "two")
    )
    assert one == two
    assert any(passed is not None for *_, passed in one)


def test_a_run_of_a_version_without_them_stays_without_them(tmp_path):
    train_run(ending(tmp_path, train={"steps": 2}))
    path = tmp_path / "run" / "config.yaml"
    values = yaml.safe_load(path.read_text())
    del values["train"]["answer_rows"]
    path.write_text(yaml.safe_dump(values))
    assert RunFolder(tmp_path / "run").read_config().train.answer_rows == 0


def events(folder, losses, shares):
    folder.mkdir()
    every = [
        {"event": HeldOut.name, "step": step, "loss": loss, "best": True, "passed": passed}
        for step, (loss, passed) in enumerate(zip(losses, shares, strict=True), start=1)
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in every))
    for step in range(1, len(losses) + 1):
        (folder / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    return RunFolder(folder)


def test_a_checkpoint_that_answers_fewer_rows_is_no_choice(tmp_path):
    folder = events(tmp_path / "run", [1.4, 1.3, 1.7, 1.9], [0.6, 0.7, 1.0, None])
    kept = selection.kept_checkpoints(folder, 3)
    assert [each.ruled_out for each in kept] == ["answers", "answers", None, "answers"]
    chosen = selection.choose_kept(kept, None).choice
    assert (chosen.best.step, chosen.reason, chosen.last.step) == (3, "answers", 4)
    why = selection.sign_text(folder, 3)
    assert why == (
        "step 2 has the lowest held-out loss (1.30), but 70 % of the answers to training rows "
        "pass the first check there, and 100 % at step 3 (1.70)"
    )
    assert selection.sign_text(folder, 2) is None
    assert selection.sign_text(folder, None) is None
    even = events(tmp_path / "even", [1.4, 1.3], [0.98, 0.98])
    assert all(each.ruled_out is None for each in selection.kept_checkpoints(even, 2))
    assert selection.sign_text(even, 1) is None
