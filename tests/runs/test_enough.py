"""Few steps and few held-out rows are reported with what would be enough."""

import re

import pytest

from tunesmith.config.methods import default_methods
from tunesmith.config.run import TrainSettings
from tunesmith.evaluation.comparison import TUNED, rows_to_show, smallest_difference, summarize
from tunesmith.runs.enough import ENOUGH_STEPS, few_held_out, few_steps
from tunesmith.training.steps import total_steps

LENGTHS = [60] * 45
LORA = default_methods()["lora"]


@pytest.mark.parametrize("rows", [1, 3, 4, 6, 10, 39, 40, 200])
def test_the_smallest_difference_is_the_first_that_the_verdict_takes_for_a_gain(rows):
    def gains(gained):
        tuned = [float(i < gained) for i in range(rows)]
        scores = {"check": {TUNED: tuned, "base": [0.0] * rows, "examples": [0.0] * rows}}
        return summarize(scores, seed=0).gain.sign > 0

    shown = [gained / rows for gained in range(1, rows + 1) if gains(gained)]
    assert smallest_difference(rows) == (shown[0] if shown else None)


@pytest.mark.parametrize("difference", [0.05, 0.1, 0.4, 0.67])
def test_rows_to_show_are_the_fewest(difference):
    rows = rows_to_show(difference)
    assert smallest_difference(rows) <= difference
    assert (smallest_difference(rows - 1) or 1.0) > difference


def test_few_held_out_rows_are_reported_with_what_they_show_and_what_is_enough():
    (note,) = few_held_out(6)
    assert (note.code, note.count) == ("few_held_out", 6)
    assert "a difference of 67 points or more" in note.message
    assert "40 rows one of 10 points, if no answer gets worse" in note.message
    assert "no difference" in next(few_held_out(3)).message
    assert list(few_held_out(40)) == list(few_held_out(0)) == []


def test_few_steps_are_reported_and_the_flags_make_enough():
    settings = TrainSettings(epochs=None, tokens_per_step=None)
    (note,) = few_steps(LENGTHS, method=LORA, settings=settings)
    assert f"({total_steps(LENGTHS, settings)})" in note.message
    flags = dict(re.findall(r"--train\.(\w+) (\d+)", note.message))
    better = TrainSettings(**{name: int(value) for name, value in flags.items()})
    assert total_steps(LENGTHS, better) >= ENOUGH_STEPS
    assert list(few_steps(LENGTHS, method=LORA, settings=better)) == []


def test_few_rows_are_not_repeated_without_end():
    (note,) = few_steps([60] * 9, method=LORA, settings=TrainSettings(epochs=3))
    assert "--train.epochs 10 makes about 30; add rows" in note.message
    (note,) = few_steps([60] * 9, method=LORA, settings=TrainSettings())
    assert note.message == "few steps (30): a task takes about 45 or more; add rows"
    assert list(few_steps(LENGTHS, method=LORA, settings=TrainSettings())) == []
    (note,) = few_steps([60] * 9, method=LORA, settings=TrainSettings(epochs=12, rows_per_step=8))
    assert note.message.endswith("or more; add rows")


def test_steps_that_are_asked_for_are_named():
    (note,) = few_steps(LENGTHS, method=LORA, settings=TrainSettings(steps=6))
    assert "(6)" in note.message
    assert "--train.steps 45" in note.message


def test_nothing_is_said_of_minutes_or_of_no_rows():
    assert list(few_steps(LENGTHS, method=LORA, settings=TrainSettings(minutes=1))) == []
    assert list(few_steps([], method=LORA, settings=TrainSettings())) == []
