from dataclasses import dataclass

import pytest

from tests.cli.summaries import Answers, Summary
from tunesmith.errors import RunError
from tunesmith.evaluate.interval import Interval

BEFORE = Interval(0.1, low=0.04, high=0.2, n=50)
AFTER = Interval(0.9, low=0.8, high=0.96, n=50)
DIFFERENCE = Interval(0.8, low=0.65, high=0.9, n=50)


@dataclass(frozen=True)
class Result:
    summary: Summary
    check: str = "ends_with"
    before: Interval = BEFORE
    after: Interval = AFTER
    difference: Interval = DIFFERENCE
    examples: tuple = (("Where is it?", "Dunno\n\x1b[2J.", "On its way.", "It is on its way."),) * 5
    next_commands: tuple = ("tunesmith chat runs/demo",)


@pytest.fixture
def result(replace_module):
    given = Result(Summary(answers=Answers()))
    replace_module("tunesmith.workflows.demo", demo=lambda *, out, emit, stop: given)
    return given


def test_the_tour_shows_answers_scores_places_and_what_comes_next(result, tunesmith):
    ended = tunesmith("demo")
    assert ended.status == 0
    lines = [line.strip() for line in ended.out.splitlines()]
    assert lines.count("question   Where is it?") == 3
    assert "base       Dunno ␛[2J." in lines
    assert "before     10 % (95 % interval 4..20)" in lines
    assert "difference +80 points (95 % interval 65..90)" in lines
    assert "adapter    runs/a b/adapter" in lines
    assert lines[-1] == "tunesmith chat runs/demo"
    assert "before and after" in ended.err


def test_the_whole_verdict_stands_under_the_score(replace_module, tunesmith):
    judged = {
        "verdict": {"answer": "no", "text": "No: it forgot."},
        "report": "runs/a b/report.html",
    }
    given = Result(Summary(answers=Answers(), evaluation=judged))
    replace_module("tunesmith.workflows.demo", demo=lambda *, out, emit, stop: given)
    ended = tunesmith("demo").out
    assert "Verdict: No: it forgot." in ended
    assert "report: runs/a b/report.html" in ended
    assert ended.index("difference") < ended.index("Verdict") < ended.index("What was made")


def test_the_tour_is_one_document(result, tunesmith):
    document = tunesmith("demo", "--json").document
    assert document["before"] == {"score": 0.1, "low": 0.04, "high": 0.2, "n": 50}
    assert document["examples"][0]["reference"] == "It is on its way."
    assert len(document["examples"]) == 5
    assert document["run"] == "runs/a b"


def test_a_stopped_tour_ends_in_130_and_says_how_to_go_on(replace_module, tunesmith):
    def demo(*, out, emit, stop):
        raise RunError("Stopped.", remedy=f"Go on with --resume {out}.", code="stopped")

    replace_module("tunesmith.workflows.demo", demo=demo)
    ended = tunesmith("demo", "--out", "runs/d")
    assert (ended.status, ended.out) == (130, "")
    assert "Stopped. Go on with --resume runs/d." in ended.err


def test_another_refusal_of_the_tour_ends_in_1(replace_module, tunesmith):
    def demo(*, out, emit, stop):
        raise RunError(f"{out} holds a run already.", code="exists")

    replace_module("tunesmith.workflows.demo", demo=demo)
    assert tunesmith("demo").status == 1
