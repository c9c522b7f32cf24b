import json
from dataclasses import replace

import pytest

from tests.cli.summaries import EVALUATION, Summary
from tunesmith.cli.console import results
from tunesmith.cli.run_result import next_commands, result_lines, show_result


def test_the_end_says_losses_cost_and_place():
    assert list(result_lines(Summary())) == [
        "Done.",
        "120 steps, 491,520 tokens at 745 tokens/s; 11 minutes with all that was judged; "
        "at most 2.1 GB",
        "training loss 0.500, held-out loss 0.750",
        "no held-out answers were checked: loss only (`tunesmith init DATA` proposes rules)",
        "report: runs/a b/report.html",
        "run: runs/a b",
        "adapter: runs/a b/adapter",
    ]


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
    assert said.startswith("Say it\nIt worked.\n arm")
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
