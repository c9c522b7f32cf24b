"""What an evaluation shows: the verdict first, a line for each arm, and nothing silent beside."""

import json
from dataclasses import replace

import pytest

from tests.cli.summaries import EVALUATION, Summary, score
from tunesmith.api.results import (
    cost_lines,
    evaluation_lines,
    next_commands,
    result_lines,
    show_evaluation,
    show_result,
)
from tunesmith.cli.command import results


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
    assert lines[0] == "Answer as JSON"
    assert lines[1].startswith("Of 100 answers about 50 pass now. Before training about 50 did.")
    assert lines[2] == "It worked."
    cells = [line.split("  ") for line in lines[3:7]]
    found = [[cell.strip() for cell in row if cell.strip()] for row in cells]
    assert found == [
        ["arm", "json", "prompt", "answer", "first token", "whole answer", "per million"],
        ["base", "50 % (36..64)", "40", "23", "128 ms", "2.1 s", "54.90"],
        ["examples", "50 % (36..64)", "1,234", "23", "128 ms", "2.1 s", "54.90"],
        ["tuned", "50 % (36..64)", "40 + 20 virtual", "23", "128 ms", "2.1 s", "54.90"],
    ]
    assert lines[7] == "50 held-out rows, with 95 % intervals; prompt and answer in tokens."


def degenerate(found, share):
    rates = {"any": score(share, share, share)}
    return {"found": found, "arms": {"base": rates, "tuned": rates}, "text": "They repeat."}


def test_degenerate_answers_have_a_column_beside_the_checks_and_a_line_below_the_verdict(capsys):
    document = {
        "verdict": {"text": "It worked."},
        "arms": {"base": arm(), "tuned": arm()},
        "degeneration": degenerate(["any", "itself"], 0.6),
    }
    lines = shown(document, capsys)
    assert lines[1:3] == ["It worked.", "They repeat."]
    assert lines[3].split() == ["arm", "json", "degenerate"]
    assert "60 % (60..60)" in lines[5]
    assert lines.count("They repeat.") == 1


def test_few_degenerate_answers_are_reported_with_the_other_measures(capsys):
    document = {
        "verdict": {"text": "It worked."},
        "arms": {"base": arm(), "tuned": arm()},
        "degeneration": degenerate([], 0.0),
    }
    lines = shown(document, capsys)
    assert lines[1] == "It worked."
    assert lines[-1] == "They repeat."


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
        "tuned: 1 answer cut at the largest number of tokens allowed",
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


def test_the_end_says_losses_cost_and_place():
    assert list(result_lines(Summary())) == [
        "Done.",
        "120 steps, 491,520 tokens at 745 tokens/s; 11 minutes with the evaluation; at most 2.1 GB",
        "training loss 0.500, held-out loss 0.750",
        "no held-out answers were checked: loss only (`tunesmith init DATA` proposes rules)",
        "report: runs/a b/report.html",
        "run: runs/a b",
        "adapter: runs/a b/adapter",
    ]


def test_a_stop_says_whether_the_evaluation_had_begun():
    in_training = list(result_lines(replace(Summary(), reason="stopped", adapter=None)))
    assert in_training[0] == "Stopped as you asked; everything is saved."
    assert "; 11 minutes; at most" in in_training[1]
    later = list(result_lines(replace(Summary(), reason="stopped")))
    assert later[0] == "Stopped as you asked, during the evaluation; everything is saved."
    assert "; 11 minutes with the evaluation; at most" in later[1]


def test_a_run_without_held_out_rows_has_no_held_out_loss():
    lines = list(result_lines(replace(Summary(), eval_loss=None)))
    assert lines[2] == "training loss 0.500"


def test_a_run_of_too_few_steps_tells_no_speed():
    lines = list(result_lines(replace(Summary(), tokens_per_second=None)))
    assert lines[1].startswith("120 steps, 491,520 tokens; 11 minutes")


def test_the_evaluation_stands_in_front(capsys):
    evaluation = {"verdict": {"text": "It worked.", "goal": "Say it"}, **EVALUATION}
    show_result(replace(Summary(), evaluation=evaluation), results(), warnings=[])
    said = capsys.readouterr().out
    assert said.startswith("Say it\nOf 100 answers about 90 pass now.")
    assert "\nIt worked.\n arm" in said
    assert said.index("It worked.") < said.index("Done.")
    assert "loss only" not in said


def test_what_comes_next_can_be_copied_into_a_shell():
    assert next_commands(Summary()) == [
        "tunesmith chat 'runs/a b'",
        "tunesmith runs show 'runs/a b'",
    ]
    stopped = replace(Summary(), reason="stopped", adapter=None)
    assert next_commands(stopped)[0] == "tunesmith train --resume 'runs/a b'"
    assert not [line for line in next_commands(stopped) if "chat" in line]


@pytest.mark.parametrize(("config", "to"), [({"r": 8}, "merged"), ({}, "peft")])
def test_what_comes_next_has_the_export_of_an_adapter(tmp_path, config, to):
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    lines = next_commands(replace(Summary(), adapter=str(tmp_path)))
    assert f"tunesmith adapters export 'runs/a b' --to {to} --out 'a b-{to}'" in lines


def test_warnings_are_told_again(capsys):
    show_result(Summary(), results(), warnings=["3 rows were cut"])
    assert "note: 3 rows were cut\n" in capsys.readouterr().out
