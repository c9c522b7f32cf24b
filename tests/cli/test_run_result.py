from dataclasses import replace

from tests.cli.summaries import EVALUATION, Summary
from tunesmith.cli.console import results
from tunesmith.cli.run_result import evaluation_lines, next_commands, result_lines, show_result


def test_the_end_says_losses_cost_and_place():
    assert list(result_lines(Summary())) == [
        "Done.",
        "120 steps, 491,520 tokens in 11 minutes (745 tokens/s, at most 2.1 GB)",
        "training loss 0.500, held-out loss 0.750",
        "no held-out answers were checked: loss only (`tunesmith init DATA` proposes rules)",
        "run: runs/a b",
        "adapter: runs/a b/adapter",
    ]


def test_a_run_without_held_out_rows_has_no_held_out_loss():
    lines = list(result_lines(replace(Summary(), eval_loss=None)))
    assert lines[2] == "training loss 0.500"


def test_scores_are_told_with_intervals_and_the_difference():
    assert list(evaluation_lines(EVALUATION)) == [
        "check json: base 10 % (95 % interval 4..20 %, 50 rows), "
        "tuned 90 % (95 % interval 80..96 %, 50 rows)",
        "  +80 points (95 % interval +65..+90) against base",
    ]


def test_what_a_check_says_beside_its_score_is_told():
    said = {
        "score": None,
        "n": 0,
        "note": "0 of 2 rows scored; row 1: no judge",
        "empty": 2,
        "figures": {"macro_f1": 0.5, "requests": 1200, "by_slot": {"a": 1}, "signature": "x"},
    }
    assert list(evaluation_lines({"arms": {"tuned": {"checks": {"judge": said}}}})) == [
        "check judge: tuned no score",
        "  tuned: 0 of 2 rows scored; row 1: no judge",
        "  tuned: 2 empty answers",
        "  tuned: macro f1 0.500, requests 1,200",
    ]


def test_a_verdict_stands_in_front():
    document = {"verdict": {"answer": "yes", "text": "It worked."}, **EVALUATION}
    assert next(iter(evaluation_lines(document))) == "It worked."


def test_what_comes_next_can_be_copied_into_a_shell():
    assert next_commands(Summary()) == [
        "tunesmith chat 'runs/a b'",
        "tunesmith runs show 'runs/a b'",
    ]
    stopped = replace(Summary(), reason="stopped", adapter=None)
    assert next_commands(stopped)[0] == "tunesmith train --resume 'runs/a b'"
    assert not [line for line in next_commands(stopped) if "chat" in line]


def test_warnings_are_told_again(capsys):
    show_result(Summary(), results(), warnings=["3 rows were cut"])
    assert "note: 3 rows were cut\n" in capsys.readouterr().out
