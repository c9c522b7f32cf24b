"""What an evaluation shows: the verdict first, a line for each arm, and nothing silent beside."""

from tests.cli.summaries import EVALUATION, score
from tunesmith.cli.console import results
from tunesmith.cli.evaluation_display import cost_lines, evaluation_lines, show_evaluation


def arm(**values):
    return {"checks": {"json": score(0.5, 0.36, 0.64)}, **values}


def shown(document, capsys):
    show_evaluation(document, results())
    return [line.strip() for line in capsys.readouterr().out.splitlines()]


def test_the_verdict_stands_first_under_the_goal_and_each_arm_has_a_line(capsys):
    costs = {
        "prompt_tokens": 40.4,
        "virtual_tokens": 0,
        "completion_tokens": 23.0,
        "seconds_to_first_token": 0.128,
        "seconds_per_answer": 2.13,
        "cost_per_million_requests": 54.9,
    }
    document = {
        "verdict": {"goal": "Answer as JSON", "text": "It worked."},
        "arms": {
            "base": arm(**costs),
            "examples": arm(**{**costs, "prompt_tokens": 1234.5}),
            "tuned": arm(**{**costs, "virtual_tokens": 20}),
        },
        "rows": 50,
    }
    lines = shown(document, capsys)
    assert lines[:2] == ["Answer as JSON", "It worked."]
    cells = [line.split("  ") for line in lines[2:6]]
    found = [[cell.strip() for cell in row if cell.strip()] for row in cells]
    assert found == [
        ["arm", "json", "prompt", "answer", "first token", "whole answer", "per million"],
        ["base", "50 % (36..64)", "40", "23", "128 ms", "2.1 s", "54.90"],
        ["examples", "50 % (36..64)", "1,234", "23", "128 ms", "2.1 s", "54.90"],
        ["tuned", "50 % (36..64)", "40 + 20 virtual", "23", "128 ms", "2.1 s", "54.90"],
    ]
    assert lines[6] == "50 held-out rows, with 95 % intervals; prompt and answer in tokens."


def test_a_document_of_an_earlier_version_is_shown_without_what_it_lacks(capsys):
    lines = shown(EVALUATION, capsys)
    assert lines[0].split() == ["arm", "json"]
    assert [line.split()[:2] for line in lines[1:3]] == [["base", "10"], ["tuned", "90"]]
    assert lines[3:] == [
        "with 95 % intervals.",
        "check json, tuned: +80 points (+65..+90) against base",
    ]
    assert shown({}, capsys) == []


def test_what_a_check_says_beside_its_score_is_told():
    said = {
        "score": None,
        "n": 0,
        "note": "0 of 2 rows scored; row 1: no judge",
        "empty": 2,
        "figures": {"macro_f1": 0.5, "requests": 1200, "by_slot": {"a": 1}, "signature": "x"},
    }
    base = {"score": 0.5, "low": 0.4, "high": 0.6, "n": 2, "figures": {"macro_f1": 0.25}}
    arms = {"base": {"checks": {"judge": base}}, "tuned": {"checks": {"judge": said}, "cut": 1}}
    assert list(evaluation_lines({"arms": arms}))[1:] == [
        "check judge, macro f1: base 0.250, tuned 0.500",
        "check judge, requests: tuned 1,200",
        "check judge, tuned: 0 of 2 rows scored; row 1: no judge",
        "check judge, tuned: 2 empty answers",
        "tuned: 1 answer cut at the most tokens allowed",
    ]


def test_arms_that_were_left_out_are_told():
    lines = list(evaluation_lines({"left_out": {"prompted": "it does not fit"}}))
    assert lines == ["prompted left out: it does not fit"]


COST = {
    "against": "prompted",
    "training_seconds": 120.0,
    "seconds_saved": 0.5,
    "requests_by_time": 240,
    "saved_per_million": 72.5,
    "training_cost": 0.0267,
    "requests_by_cost": 369,
}


def test_when_the_training_is_repaid_is_told_in_time_and_money():
    assert list(cost_lines(COST)) == [
        "against prompted a request is 500 ms faster: the 2 minutes of training are repaid after "
        "240 requests",
        "against prompted a million requests cost 72.50 less: training for 0.027 is repaid after "
        "369 requests",
    ]


def test_seconds_that_cannot_be_told_apart_are_told_so():
    unclear = {**COST, "seconds_saved_low": -0.3, "seconds_saved_high": 0.7}
    assert next(cost_lines(unclear)) == (
        "against prompted a request takes about as long: 300 ms slower to 700 ms faster, by the "
        "quartiles of a few requests"
    )


def test_training_that_is_never_repaid_is_no_number():
    worse = {
        **COST,
        "seconds_saved": -1.25,
        "requests_by_time": None,
        "saved_per_million": -3.0,
        "requests_by_cost": None,
    }
    assert list(cost_lines(worse)) == [
        "against prompted a request is 1.2 s slower",
        "against prompted a million requests cost 3.00 more",
    ]
    assert list(cost_lines({})) == []
