"""`tunesmith evaluate`: what is passed on, what is refused, and how a stop ends."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.summaries import EVALUATION, Answers
from tunesmith.errors import RunError

DOCUMENT = {"verdict": {"answer": "yes", "text": "Yes: it did.", "goal": "Do it"}, **EVALUATION}


@dataclass
class Evaluation:
    target: str = "runs/a"
    document: dict | None = None
    answers: Answers | None = None
    folder: Path | None = None


@pytest.fixture
def asked(replace_module):
    """What the workflow was called with; it answers, stops or raises as it is told."""
    taken = {"found": Evaluation(document=DOCUMENT, answers=Answers(), folder=Path("runs/a"))}

    def evaluate_target(target, overrides, *, data, out, emit, stop):
        taken.update(target=target, overrides=overrides, data=data, out=out)
        if isinstance(taken["found"], BaseException):
            raise taken["found"]
        return taken["found"]

    replace_module("tunesmith.workflows.evaluate", evaluate_target=evaluate_target)
    return taken


def test_the_verdict_comes_first_and_where_it_is_written_last(tunesmith, asked):
    ended = tunesmith("evaluate", "runs/a")
    assert ended.status == 0
    lines = ended.out.splitlines()
    assert lines[:2] == ["Do it", "Yes: it did."]
    assert lines[-1] == f"written: {Path('runs/a/evaluation.json')}"
    assert "base       Dunno" in ended.out
    assert "tuned      On its way." in ended.out


def test_json_is_the_document_and_nothing_else(tunesmith, asked):
    assert tunesmith("evaluate", "runs/a", "--json").document == DOCUMENT


def test_flags_are_those_of_a_runs_config(tunesmith, asked):
    words = ("--data", "x.jsonl", "--evaluate.examples", "3", "--model", "m", "--out", "o")
    prices = ("--evaluate.prices.prompt", "0.5", "--evaluate.forgetting", "none")
    assert tunesmith("evaluate", *words, "runs/a", *prices).status == 0
    assert (asked["target"], asked["data"], asked["out"]) == ("runs/a", "x.jsonl", Path("o"))
    assert asked["overrides"] == {
        "evaluate": {"examples": 3, "prices": {"prompt": 0.5}, "forgetting": "none"},
        "model": "m",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "One run, adapter or model is evaluated, and none is given."),
        (("a", "b"), "One run, adapter or model is evaluated, not 2: a, b."),
        (("a", "--evaluate.exampels", "3"), "did you mean --evaluate.examples?"),
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
    assert "tunesmith evaluate 'runs/a b' --evaluate.rows 9 --data x.jsonl" in ended.err
    assert ended.out == ""
