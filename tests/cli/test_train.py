""""""

import signal
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.cli.summaries import EVALUATION, Answers, Summary
from tunesmith.core.errors import RunError
from tunesmith.core.progress import Notice, Phase, finishing_first
from tunesmith.training.events import Saved


@pytest.fixture
def runs(replace_module, monkeypatch):
    """A workflow that notes what it was asked for; ``act`` is what a run does."""

    class Runs:
        def __init__(self):
            self.asked = []
            self.act = lambda emit, stop: Summary()

    def train_run(config, *, progress):
        runs.asked.append(config)
        return runs.act(progress.on_event, progress.cancelled)

    def resume_run(folder, *, progress):
        runs.asked.append(folder)
        return runs.act(progress.on_event, progress.cancelled)

    runs = Runs()
    replace_module("tunesmith.runs.run", train_run=train_run, resume_run=resume_run)
    replace_module("tunesmith.report.writing", draw_report=lambda *_: None)
    replace_module(
        "tunesmith.runs.mirror",
        copy_ended=lambda *_: None,
        pulled=lambda url, _: Path(url.rpartition("/")[2]),
    )
    monkeypatch.setattr("tunesmith.runs.inputs.require_inputs", lambda *_, **__: None)
    monkeypatch.setattr("tunesmith.runs.folder.RunFolder.require_run", lambda _: None)
    return runs


def test_flags_alone_make_a_run(runs, tunesmith):
    ended = tunesmith(
        "train", "--model", "m", "--data", "a.jsonl", "--method", "lora", "--out", "o"
    )
    assert ended.status == 0
    (config,) = runs.asked
    assert (config.model, config.data.train, config.out) == ("m", "a.jsonl", "o")
    assert config.method.kind == "lora"


def test_flags_stand_in_front_of_the_file(runs, tunesmith, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("data: {train: a.jsonl}\nmethod: {kind: lora, rank: 4, alpha: 8}\n")
    assert tunesmith("train", "--method.rank", "2", file).status == 0
    (config,) = runs.asked
    assert (config.method.rank, config.method.alpha) == (2, 8)


def test_json_is_one_document_and_progress_is_on_standard_error(runs, tunesmith):
    def act(emit, stop):
        emit(Phase("loading m"))
        emit(Notice("cut", "3 rows were cut"))
        return Summary()

    runs.act = act
    ended = tunesmith("train", "--data", "a.jsonl", "--json")
    keys = "run adapter steps tokens train_loss eval_loss tokens_per_second peak_bytes seconds"
    assert set(keys.split()) | {"evaluation"} <= set(ended.document)
    assert ended.err.splitlines() == ["loading m ...", "note: 3 rows were cut"]


def test_warnings_are_shown_again_at_the_end(runs, tunesmith):
    def act(emit, stop):
        emit(Notice("cut", "3 rows were cut"))
        return Summary()

    runs.act = act
    ended = tunesmith("train", "--data", "a.jsonl")
    assert "note: 3 rows were cut" in ended.err
    assert "note: 3 rows were cut" in ended.out


def test_a_run_is_resumed_by_its_folder(runs, tunesmith):
    assert tunesmith("train", "--resume", "runs/x").status == 0
    assert runs.asked == [Path("runs/x")]


def test_a_run_is_resumed_by_the_url_of_its_mirror(runs, tunesmith):
    assert tunesmith("train", "--resume", "s3://bucket/runs/x").status == 0
    assert runs.asked == [Path("x")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_the_run_save_and_says_how_to_go_on(number, runs, tunesmith):
    def act(emit, stop):
        with finishing_first():  # as its training steps are
            assert not stop()
            signal.raise_signal(number)
            assert stop()
        return replace(Summary(), reason="stopped", adapter=None)

    runs.act = act
    ended = tunesmith("train", "--data", "a.jsonl")
    assert ended.status == 128 + number
    assert "tunesmith train --resume 'runs/a b'" in ended.out


def test_a_stopped_run_is_still_one_document(runs, tunesmith):
    runs.act = lambda emit, stop: replace(Summary(), reason="stopped")
    ended = tunesmith("train", "--data", "a.jsonl", "--json")
    assert ended.status == 130
    assert ended.document["next"][0] == "tunesmith train --resume 'runs/a b'"


def test_the_second_signal_ends_at_once_and_says_how_to_go_on(runs, tunesmith):
    def act(emit, stop):
        emit(Saved(10, "runs/x/checkpoints/step-00000010"))
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    runs.act = act
    ended = tunesmith("train", "--data", "a.jsonl")
    assert ended.status == 130
    assert ended.out == ""
    assert "tunesmith train --resume runs/x" in ended.err


def test_a_run_cut_off_before_its_first_checkpoint_can_go_on_too(runs, tunesmith, tmp_path):
    def act(emit, stop):
        (tmp_path / "config.yaml").write_text("")
        raise KeyboardInterrupt

    runs.act = act
    ended = tunesmith("train", "--data", "a.jsonl", "--out", tmp_path)
    assert f"tunesmith train --resume {tmp_path}" in ended.err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ((), 1, "No training data is named."),
        (("--data", "a", "--method.rnk", "8"), 2, "did you mean --method.rank?"),
        (("--data", "a", "--method.rank", "-1"), 1, "error: --method.rank: "),
        (("--data", "a", "--method.rank"), 2, "--method.rank needs a value."),
        (("a.yaml", "b.yaml"), 2, "One CONFIG can be given, not 2: a.yaml, b.yaml."),
        (("rows.jsonl",), 2, "tunesmith train --data rows.jsonl"),
        (("none.yaml",), 1, "none.yaml: does not exist"),
        (("--resume", "x", "--train.steps", "3"), 2, "it takes nothing else"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_loaded(words, status, said, runs, tunesmith):
    ended = tunesmith("train", *words)
    assert (ended.status, ended.out) == (status, "")
    assert said in ended.err
    assert runs.asked == []


DOCUMENT = {"verdict": {"answer": "yes", "text": "Yes: it did.", "goal": "Do it"}, **EVALUATION}


@dataclass
class Evaluation:
    target: str = "runs/a"
    document: dict | None = None
    answers: Answers | None = None
    folder: Path | None = None


@pytest.fixture
def asked(replace_module, monkeypatch):
    """What the workflow was called with; it answers, stops or raises as it is told."""
    taken = {"found": Evaluation(document=DOCUMENT, answers=Answers(), folder=Path("runs/a"))}

    def evaluate_target(target, overrides, *, data, out, progress):
        taken.update(target=target, overrides=overrides, data=data, out=out)
        if isinstance(taken["found"], BaseException):
            raise taken["found"]
        return taken["found"]

    replace_module("tunesmith.runs.evaluate", evaluate_target=evaluate_target)
    monkeypatch.setattr("tunesmith.runs.inputs.require_target", lambda *_, **__: None)
    replace_module("tunesmith.report.writing", draw_report=lambda *_: None)
    return taken


def test_the_verdict_comes_first_and_where_it_is_written_last(tunesmith, asked):
    ended = tunesmith("evaluate", "runs/a")
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert (lines[0], lines[2]) == ("Do it", "Yes: it did.")
    assert lines[1].startswith("Of 100 answers about 90 pass now.")
    assert lines[-1] == f"written: {Path('runs/a/evaluation.json')}"
    assert "base       Dunno" in ended.out
    assert "tuned      On its way." in ended.out


def test_json_is_the_document_and_nothing_else(tunesmith, asked):
    assert tunesmith("evaluate", "runs/a", "--json").document == DOCUMENT


def test_flags_are_those_of_a_runs_config(tunesmith, asked):
    words = ("--data", "x.jsonl", "--evaluate.num_fewshot", "3", "--model", "m", "--out", "o")
    prices = ("--evaluate.prices.prompt", "0.5", "--evaluate.forgetting", "none")
    assert tunesmith("evaluate", *words, "runs/a", *prices).status == 0
    assert (asked["target"], asked["data"], asked["out"]) == ("runs/a", "x.jsonl", Path("o"))
    assert asked["overrides"] == {
        "evaluate": {"num_fewshot": 3, "prices": {"prompt": 0.5}, "forgetting": "none"},
        "model": "m",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "One run, adapter or model is evaluated, and none is given."),
        (("a", "b"), "One run, adapter or model is evaluated, not 2: a, b."),
        (("a", "--evaluate.num_fewshots", "3"), "did you mean --evaluate.num_fewshot?"),
        (("a", "--method.rank", "3"), "There is no flag --method.rank"),
    ],
)
def test_wrong_usage_is_refused_with_the_way_out(tunesmith, asked, words, said):
    ended = tunesmith("evaluate", *words)
    assert ended.status == 2
    assert said in ended.err
    assert "target" not in asked


def test_a_refusal_is_told_without_a_traceback(tunesmith, asked):
    asked["found"] = RunError("its base is gone", remedy="--model FOLDER", code="base_gone")
    assert tunesmith("evaluate", "runs/a").err.endswith("error: its base is gone\n--model FOLDER\n")
    ended = tunesmith("evaluate", "runs/a", "--json")
    assert (ended.status, ended.document["error"]["code"]) == (1, "base_gone")


@pytest.mark.parametrize("found", [Evaluation("runs/a b"), KeyboardInterrupt()])
def test_a_stop_says_how_to_go_on(tunesmith, asked, found):
    asked["found"] = found
    ended = tunesmith("evaluate", "runs/a b", "--data", "x.jsonl", "--evaluate.rows", "9")
    assert ended.status == 130
    assert "tunesmith evaluate 'runs/a b' --data x.jsonl --evaluate.rows 9" in ended.err
    assert ended.out == ""
