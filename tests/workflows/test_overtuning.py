"""A finished run measured: losses of both arms, its course, and a diagnosis in one document."""

import json
import math
from pathlib import Path

import pytest

from tests.workflows.tiny import config
from tunesmith.evaluate.capacity.measure import capacity_of
from tunesmith.evaluate.overtuning.result import judge_overtuning
from tunesmith.train.run_folder import RunFolder
from tunesmith.workflows import overtuning
from tunesmith.workflows.one_run import open_for
from tunesmith.workflows.opening import attach_folder
from tunesmith.workflows.overtuning import Answered, Losing, read_run, sample
from tunesmith.workflows.rows import load_rows
from tunesmith.workflows.run import train_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    train = {"steps": 12, "rows_per_step": 3, "lr": 0.01, "evaluate_steps": 4}
    made = config(tmp_path_factory.mktemp("run"), train=train)
    folder = RunFolder(Path(train_run(made, emit=lambda _: None).run))
    opened = open_for(made, emit=lambda _: None)
    attach_folder(opened, folder.adapter)
    rows = load_rows(made.data, opened.base.tokenizer, context=256, seed=0)
    return made, folder, opened, rows


def course_of(run, **more):
    made, folder, opened, _ = run
    width = opened.engine.model.config.hidden_size
    return read_run(folder, made.method, width=width, seed=0, **more)


def test_the_course_of_a_run_is_what_its_folder_tells(run):
    course = course_of(run)
    assert len(course.curves.train) == 12
    assert [step for step, _ in course.curves.held] == [4, 8, 12]
    assert not course.curves.broken
    assert course_of(run, broken=True).curves.broken
    assert course.rate.given == pytest.approx(0.01)
    assert course.tokens > 0


def test_both_arms_are_measured_and_the_document_is_json(run):
    _, _, opened, rows = run
    capacity = capacity_of(opened.engine, "default")
    answered = Answered(["a"] * 4, ["b", "c", "d", "e"])
    evidence = Losing(opened, rows).evidence(
        "default", course=course_of(run), answered=answered, capacity=capacity
    )
    document = judge_overtuning(evidence).to_json()
    assert json.loads(json.dumps(document)) == document
    losses = document["losses"]
    assert losses["train_change"]["high"] < 0  # it learned something
    assert math.isfinite(losses["held_out_loss"])
    assert document["passes"] == pytest.approx(36 / len(rows.train), rel=0.1)
    assert document["rows"] == len(rows.train)
    assert evidence.rank == capacity.use.rank == 2
    assert capacity.to_json()["rank"] == 2


def test_the_untrained_model_is_its_own_base(run):
    _, _, opened, rows = run
    losing = Losing(opened, rows)
    losing.measure_base()
    found = losing.evidence(None, course=course_of(run))
    assert found.gap.train_change.mean == 0
    alone = Losing(opened, rows).evidence(None, course=course_of(run))
    assert alone.gap.train_change is None


def test_a_stop_is_heeded(run):
    _, _, opened, rows = run
    losing = Losing(opened, rows)
    told = []

    def go_on(done, total):
        told.append((done, total))
        return False

    assert losing.evidence("default", course=course_of(run), go_on=go_on) is None
    total = len(losing.train) + len(losing.held)
    assert all(each[1] == total for each in told)


def test_a_sample_is_spread_and_bounded(run, monkeypatch):
    _, _, _, rows = run
    monkeypatch.setattr(overtuning, "MOST_ROWS", 5)
    assert len(sample(rows.train)) == 5
    assert sample(rows.train).lines[0] == rows.train.lines[0]
    monkeypatch.setattr(overtuning, "MOST_TOKENS", 1)
    assert len(sample(rows.train)) == 2
