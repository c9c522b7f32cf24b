"""A distillation that stops: what it leaves, and that going on ends in the same files."""

import itertools
import json
from dataclasses import replace

import pytest

from tests.distillation.distilling import HAS_F, QUESTIONS, answers_of, files_of
from tunesmith.config.distill import DistillSettings
from tunesmith.core.errors import DataError
from tunesmith.core.progress import Cancelled, Phase
from tunesmith.distillation.draws import DistillState, Draws, draws_left
from tunesmith.distillation.teacher import Teacher


@pytest.mark.parametrize("waves", [1, 3, 6])
def test_resuming_after_a_cancel_gives_the_files_of_an_unbroken_call(
    ask, tmp_path, monkeypatch, waves
):
    monkeypatch.setattr(Teacher, "wave", 3)
    asked = {"checks": [HAS_F], "samples": 3, "keep": 2}
    ask(**asked)
    unbroken = files_of(tmp_path)
    for name in unbroken:
        (tmp_path / name).unlink()
    count = itertools.count()
    with pytest.raises(Cancelled):
        ask(**asked, cancelled=lambda: next(count) == waves)
    assert files_of(tmp_path).keys() == unbroken.keys()
    assert files_of(tmp_path) != unbroken
    done = ask(**asked, resume=True)
    assert not done.stopped
    assert files_of(tmp_path) == unbroken


def test_going_on_answers_the_same_inputs_together_as_an_unbroken_call(ask, monkeypatch):
    monkeypatch.setattr(Teacher, "wave", 3)
    answers, waves = Teacher.answers, []

    def noted(teacher, numbers, sample):
        waves.append((tuple(numbers), sample))
        return answers(teacher, numbers, sample)

    monkeypatch.setattr(Teacher, "answers", noted)
    asked = {
        "checks": [HAS_F],
        "samples": 3,
        "inputs": [q[: 5 + i % 4] for i, q in enumerate(QUESTIONS)],
    }
    ask(**asked, out="unbroken.jsonl")
    unbroken = waves.copy()
    assert len(unbroken) > 6
    waves.clear()
    with pytest.raises(Cancelled):
        ask(**asked, cancelled=lambda: len(waves) == 1)
    for stop_at in range(2, len(unbroken)):
        with pytest.raises(Cancelled):
            ask(**asked, resume=True, cancelled=lambda: len(waves) == stop_at)  # noqa: B023
    ask(**asked, resume=True)
    assert waves == unbroken


def test_a_call_that_is_killed_in_a_wave_keeps_the_waves_before(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(Teacher, "wave", 3)
    ask()
    unbroken = files_of(tmp_path)
    for name in unbroken:
        (tmp_path / name).unlink()
    told = itertools.count()

    def interrupt(event):
        if isinstance(event, Phase) and event.seconds_left is not None and next(told) == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(emit=interrupt)
    state = json.loads((tmp_path / "rows.distill.json").read_text())
    assert [draws["count"] for draws in state["inputs"]].count(1) == 6
    ask(resume=True)
    assert files_of(tmp_path) == unbroken


def test_going_on_with_what_is_complete_changes_nothing_and_loads_nothing(
    ask, tmp_path, monkeypatch
):
    first = ask(samples=9, max_new_tokens=100)
    before = files_of(tmp_path)
    monkeypatch.delattr("tunesmith.distillation.instruction.open_base")
    done = ask(samples=9, max_new_tokens=100, resume=True)
    assert files_of(tmp_path) == before
    assert replace(done, seconds=first.seconds) == first


def test_more_samples_are_drawn_for_those_that_failed(ask):
    few = ask(checks=[HAS_F], samples=1, temperature=0.9)
    more = ask(checks=[HAS_F], samples=8, temperature=0.9, resume=True)
    assert few.failed
    assert len(more.failed) < len(few.failed)
    assert answers_of(few).items() <= answers_of(more).items()


def test_a_cancel_before_the_first_answer_leaves_nothing(ask, tmp_path):
    with pytest.raises(Cancelled):
        ask(cancelled=lambda: True)
    assert files_of(tmp_path) == {}


def test_time_left_is_told_once_there_are_two_answers(ask):
    events = []
    ask(emit=events.append, max_new_tokens=100)
    told = [e for e in events if isinstance(e, Phase) and e.total]
    assert [e.seconds_left is None for e in told[:3]] == [True, True, False]
    assert all(e.seconds_left >= 0 for e in told[2:])
    assert (told[0].done, told[0].total) == (0, len(QUESTIONS))


def test_draws_left_are_those_of_the_inputs_that_lack_an_answer(tmp_path):
    asked = DistillSettings(prompt="p", inputs="i", out="o", samples=4, keep=1)

    def left(*draws):
        return draws_left(DistillState(tmp_path, [], {}, list(draws)), asked)

    assert left(Draws(), Draws()) == 2
    assert left(Draws(1, ["x"]), Draws(4, [], {"cut": 4})) == 0
    # Two of six passed: an input needs about two more draws, but has only one.
    assert left(Draws(1, ["x"]), Draws(2, ["y"]), Draws(3)) == 1


def test_an_unfinished_call_is_not_begun_anew(ask, tmp_path, monkeypatch):
    monkeypatch.setattr(Teacher, "wave", 3)
    count = itertools.count()
    with pytest.raises(Cancelled):
        ask(cancelled=lambda: next(count) == 1)
    (tmp_path / "rows.jsonl").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"rows\.distill\.json: exists already") as refused:
        ask()
    assert "--resume" in refused.value.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"instruction": "Speak."},
        {"inputs": QUESTIONS[1:]},
        {"temperature": 0.8},
        {"keep": 2},
        {"seed": 3},
        {"max_new_tokens": 13},
        {"checks": [HAS_F]},
        {"method": "qlora"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_going_on_with_other_settings_is_refused(ask, tmp_path, changes):
    ask()
    before = files_of(tmp_path)
    (name,) = changes
    name = {"instruction": "prompt", "method": "four_bit"}.get(name, name)
    with pytest.raises(DataError, match=f"other settings: {name} "):
        ask(**changes, resume=True)
    assert files_of(tmp_path) == before


def test_rows_that_were_changed_by_hand_are_not_written_over(ask, tmp_path):
    done = ask()
    text = (tmp_path / "rows.jsonl").read_text()
    (tmp_path / "rows.jsonl").write_text(text.replace("say one", "say 1", 1))
    with pytest.raises(DataError, match="1 of its rows were changed"):
        ask(resume=True)
    assert done.rows


def test_a_state_that_is_damaged_is_refused(ask, tmp_path):
    ask()
    (tmp_path / "rows.distill.json").write_text("{")
    with pytest.raises(DataError, match="cannot be resumed"):
        ask(resume=True)
