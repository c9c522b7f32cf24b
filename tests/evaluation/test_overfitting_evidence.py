"""Labels and warnings: what answers a blind model would give, and whose loss is left."""

import json
import math
from pathlib import Path

import pytest

from tests.counting import Counting
from tests.runs.tiny import config
from tunesmith.adapters.loaded_base import attach_folder
from tunesmith.core.progress import SILENT, Cancelled
from tunesmith.data.faults import Note
from tunesmith.data.quality.copies import CHOICES
from tunesmith.evaluation import overfitting_evidence
from tunesmith.evaluation.answering import Respondent
from tunesmith.evaluation.capacity import capacity_of
from tunesmith.evaluation.overfitting import assess_overfitting
from tunesmith.evaluation.overfitting_evidence import (
    Answered,
    ArmLosses,
    evidence_of,
    labels_of,
    sample,
    sample_rows,
    warned_of,
)
from tunesmith.runs.evaluation_files import training_history
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.result import open_for
from tunesmith.runs.rows import load_rows
from tunesmith.runs.run import train_run


def test_a_blind_model_loses_the_entropy_of_the_answers():
    found = labels_of(["a", "b", "A.", "b"] * 5, [2] * 20)
    assert found.classes == 2
    assert found.blind_loss == pytest.approx(math.log(2) / 2)


def test_free_texts_and_single_answers_are_no_labels():
    assert labels_of([f"text {i}" for i in range(20)], [4] * 20) is None
    assert labels_of(["yes"] * 20, [2] * 20) is None
    assert labels_of([str(i % 7) for i in range(20)], [2] * 20) is None


def warned(count, lines, *, code="contradictions", message=f"x: {CHOICES}", losses=None):
    note = Note(code, message, count, tuple(lines))
    losses = losses or [1.0 + 0.01 * (i % 3) if i in lines else 0.01 for i in range(1, 21)]
    found = warned_of([note], rows=100, lines=range(1, 21), losses=losses, seed=0)
    return found.get(code)


def test_rows_that_are_warned_of_are_set_against_the_others():
    found = warned(10, range(1, 11))
    assert (found.rows, found.share, found.choices) == (10, 0.1, True)
    assert found.above.low > 0.9
    assert found.loss_share > 0.98


def test_rows_that_are_not_all_listed_are_counted_only():
    found = warned(5000, range(1, 11))
    assert (found.share, found.above, found.loss_share) == (1.0, None, None)


def test_texts_are_no_choices_and_other_notes_are_left_out():
    assert not warned(10, range(1, 11), message="x").choices
    assert warned(10, range(1, 11), code="inserted_system_prompt") is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    train = {"steps": 12, "rows_per_step": 3, "lr": 0.01, "evaluate_steps": 4}
    made = config(tmp_path_factory.mktemp("run"), train=train)
    folder = RunFolder(Path(train_run(made).run))
    loaded = open_for(made, progress=SILENT)
    attach_folder(loaded, folder.adapter)
    rows = load_rows(made.data, loaded.base.tokenizer, context=256, seed=0)
    return made, folder, loaded, rows


def course_of(run, **more):
    made, folder, loaded, _ = run
    width = loaded.engine.model.config.hidden_size
    return training_history(folder, made.method, width=width, **more)


def evidence(run, adapter, base=None, **more):
    """Of the adapter of a run (None: the base as it is), whose losses are ``base``."""
    _, _, loaded, rows = run
    losses = ArmLosses(sample_rows(rows).losses(loaded, Respondent(adapter)), base)
    return evidence_of(rows, course_of(run), losses, seed=0, **more)


def test_the_course_of_a_run_is_what_its_folder_tells(run):
    course = course_of(run)
    assert len(course.curves.train) == 12
    assert [step for step, _ in course.curves.held] == [4, 8, 12]
    assert not course.curves.broken
    assert course_of(run, broken=True).curves.broken
    assert course.rate.given == pytest.approx(0.01)
    assert course.tokens > 0


def test_both_arms_are_measured_and_the_document_is_json(run):
    _, _, loaded, rows = run
    capacity = capacity_of(loaded.engine, "default")
    answered = Answered(["a"] * 4, ["b", "c", "d", "e"])
    base = sample_rows(rows).base_losses(loaded)
    found = evidence(run, "default", base, answered=answered, capacity=capacity)
    document = assess_overfitting(found).to_json()
    assert json.loads(json.dumps(document)) == document
    losses = document["losses"]
    assert losses["train_change"]["high"] < 0  # it learned something
    assert math.isfinite(losses["held_out_loss"])
    assert document["passes"] == pytest.approx(36 / len(rows.train), rel=0.1)
    assert document["rows"] == len(rows.train)
    assert found.rank == capacity.use.rank == 2
    assert capacity.to_json()["rank"] == 2


def test_the_untrained_model_is_its_own_base(run):
    _, _, loaded, rows = run
    found = evidence(run, None, sample_rows(rows).base_losses(loaded))
    assert found.gap.train_change.mean == 0
    assert evidence(run, None).gap.train_change is None


def test_it_is_cancelled_between_two_batches(run):
    _, _, loaded, rows = run
    both, phase = sample_rows(rows), Counting(limit=2)
    with pytest.raises(Cancelled):
        both.losses(loaded, Respondent("default"), phase=phase)
    total = len(both.train) + len(both.held)
    assert all(each[1] == total for each in phase.told)


def test_a_sample_is_spread_and_bounded(run, monkeypatch):
    _, _, _, rows = run
    monkeypatch.setattr(overfitting_evidence, "MAX_ROWS", 5)
    assert len(sample(rows.train)) == 5
    assert sample(rows.train).lines[0] == rows.train.lines[0]
    assert len(sample(rows.train, 3)) == len(sample_rows(rows, 3).train) == 3
    monkeypatch.setattr(overfitting_evidence, "MAX_TOKENS", 1)
    assert len(sample(rows.train)) == 2


def test_a_run_whose_steps_are_gone_has_no_losses():
    found = overfitting_evidence.Curves([])
    assert all(math.isnan(each) for each in (found.first, found.last, found.peak))
