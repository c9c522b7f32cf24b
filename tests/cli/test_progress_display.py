import io
from dataclasses import replace

import pytest
from rich.console import Console

from tunesmith.api.display import RunDisplay, evaluation_seconds, planned_text, step_text
from tunesmith.core.progress import Notice, Phase
from tunesmith.training.events import Ended, HeldOut, Planned, Saved, StepDone

PLANNED = Planned(120, 0, 4096, 2048, 4_884_480, 2_100_000_000, 660.0)


def step(number, loss=0.5):
    return StepDone(number, 120, 4096 * number, loss, 1e-4, 1.0, 745.2, 2_000_000_000, 10.0, 245.0)


class Clock:
    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def shown():
    """A display on a pipe, its clock, and what it wrote."""
    stream, clock = io.StringIO(), Clock()
    return RunDisplay(Console(file=stream, width=300), now=clock), clock, stream


def test_a_plan_is_one_line():
    assert planned_text(PLANNED) == (
        "about 2.1 GB, 11 minutes, 120 steps of about 4,096 tokens, 4.9 M trainable parameters"
    )


def test_a_plan_names_the_learning_rate_that_auto_chose():
    plan = replace(PLANNED, lr=0.00128)
    assert planned_text(plan).endswith(", 4.9 M trainable parameters, learning rate 0.0013")


def test_a_plan_of_a_resumed_run_says_where_it_goes_on():
    plan = Planned(120, 40, 4096, 2048, 4_884_480, 2_100_000_000, 440.0)
    assert planned_text(plan).endswith("(resumed after step 40)")


def test_a_plan_has_one_total_with_the_evaluation_in_it():
    plan = replace(PLANNED, evaluation_seconds=180.0, evaluation_seconds_most=300.0)
    assert planned_text(plan).startswith(
        "about 2.1 GB, 14 to 16 minutes (11 minutes of training, 3 to 5 minutes of evaluation), "
    )
    sure = replace(plan, evaluation_seconds_most=180.0)
    assert ", 14 minutes (11 minutes of training, 3 minutes of evaluation), " in planned_text(sure)


def test_the_time_left_has_the_evaluation_in_it(shown):
    assert step_text(step(7), None, evaluation=120.0) == (
        "step 7/120 · 6:05 left · loss 0.500 · 745 tokens/s · 2.0 GB · evaluation 2:00"
    )
    display, _, stream = shown
    display(replace(PLANNED, evaluation_seconds=60.0, evaluation_seconds_most=180.0))
    display(step(7))
    assert " · 6:05 left · " in stream.getvalue()
    assert stream.getvalue().endswith(" · evaluation 2:00\n")


def test_with_retention_no_search_for_a_scale_is_expected():
    plan = replace(PLANNED, evaluation_seconds=60.0, evaluation_seconds_most=180.0)
    assert evaluation_seconds(plan) == 120.0
    assert evaluation_seconds(replace(plan, is_retained=True)) == 60.0


def test_a_step_line_has_losses_speed_memory_and_time_left():
    text = step_text(step(7), HeldOut(5, 0.75, best=True))
    assert text == (
        "step 7/120 · 4:05 left · loss 0.500 · held-out 0.750 (step 5, the best) · 745 tokens/s · "
        "2.0 GB"
    )
    by_answers = step_text(step(7), HeldOut(5, 0.75, best=True, passed=0.9))
    assert " (step 5, the best by its answers) · " in by_answers


def test_without_a_terminal_there_is_a_line_at_the_start_then_every_ten_seconds(shown):
    display, clock, stream = shown
    for number in range(1, 26):
        display(step(number))
        clock.seconds += 1.0
    steps = [line.split()[1] for line in stream.getvalue().splitlines()]
    assert steps == ["1/120", "11/120", "21/120"]


def test_the_last_step_is_always_shown_once(shown):
    display, _, stream = shown
    display(step(1))
    display(step(2))
    display(Ended(2, "done"))
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["1/120", "2/120"]


def test_a_new_phase_is_shown_at_once_and_its_progress_now_and_then(shown):
    display, clock, stream = shown
    for done in range(5):
        display(Phase("reading", done, 5))
    clock.seconds = 11.0
    display(Phase("reading", 5, 5))
    display(Phase("loading"))
    assert stream.getvalue().splitlines() == [
        "reading 0 of 5 ...",
        "reading 5 of 5 ...",
        "loading ...",
    ]


def test_warnings_are_kept_for_the_end_and_information_is_not(shown):
    display, _, stream = shown
    display(Notice("cut", "3 rows were cut"))
    display(Notice("base", "bfloat16"))
    display(Notice("never_heard_of", "something odd"))
    assert display.warnings == ["3 rows were cut", "something odd"]
    assert stream.getvalue().splitlines() == [
        "note: 3 rows were cut",
        "note: bfloat16",
        "note: something odd",
    ]


def test_what_several_parts_of_a_run_notice_is_said_once(shown):
    display, _, stream = shown
    for code in ("few_rows", "data", "few_rows"):
        display(Notice(code, f"about {code}"))
        display(Notice(code, f"about {code}"))
    assert stream.getvalue().count("about few_rows") == 1
    assert stream.getvalue().count("about data") == 1
    assert display.warnings == ["about few_rows"]


def test_the_run_is_known_from_its_first_checkpoint(shown):
    display, _, _ = shown
    assert display.run_folder is None
    display(Saved(10, "runs/x/checkpoints/step-00000010"))
    assert str(display.run_folder) == "runs/x"


def test_on_a_terminal_one_line_lives_and_the_last_one_stays():
    stream = io.StringIO()
    console = Console(file=stream, width=60, force_terminal=True, color_system=None)
    with RunDisplay(console) as display:
        display(PLANNED)
        display(step(1))
        display(step(2, loss=0.25))
        display(Ended(2, "done"))
    text = stream.getvalue()
    assert "about 2.1 GB" in text
    assert "4:05 left · loss 0.250 · 745 tokens/s · 2.0 GB" in text


def test_a_wait_says_how_much_is_done_and_how_long_the_rest_takes(shown):
    display, clock, stream = shown
    for done, left in ((0, None), (12, 245.0)):
        display(Phase("answering", done, 80, left))
        clock.seconds += 10
    assert stream.getvalue().splitlines() == [
        "answering 0 of 80 ...",
        "answering 12 of 80, 4:05 left ...",
    ]
