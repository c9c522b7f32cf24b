"""A learning curve: the same steps and held-out rows for each share, and rows' own losses."""

import pytest

from tests.workflows.tiny import config
from tunesmith.config.methods import FullSettings
from tunesmith.errors import ConfigError, DataError
from tunesmith.train.events import Ended
from tunesmith.train.loop import held_out_loss
from tunesmith.workflows.learning_curve import learning_curve, resume_curve
from tunesmith.workflows.one_run import OneRun, open_for
from tunesmith.workflows.row_losses import losses_of_rows

pytestmark = pytest.mark.usefixtures("home")


def go(made, out, **options):
    events = []
    return learning_curve(made, out, emit=lambda *e: events.append(e), **options), events


def test_every_share_trains_as_long_on_its_part_of_the_rows(tmp_path):
    made = config(tmp_path)
    found, events = go(made, tmp_path / "curve", shares=(1.0, 0.5))
    rows = [point.rows for point in found.points]
    assert rows == [round(rows[1] / 2), rows[1]]
    steps = {row.summary.steps for row in found.comparison.rows if row.summary.reason == "done"}
    assert len(steps) <= 1
    assert {name for name, event in events if isinstance(event, Ended)} == {"share-0.5", "share-1"}
    document = found.to_json()
    assert [point["rows"] for point in document["points"]] == rows
    assert document["verdict"]["answer"] in ("yes", "no", "cannot-tell")
    assert document["gain"]["low"] <= document["gain"]["mean"] <= document["gain"]["high"]
    again = resume_curve(tmp_path / "curve", emit=lambda *_: None)
    assert again.to_json() == document


def test_losses_of_rows_are_those_of_the_run(tmp_path):
    made = config(tmp_path)
    found, _ = go(made, tmp_path / "curve", shares=(0.5, 1.0))
    run = OneRun(made, found.comparison.rows[1].folder, emit=lambda _: None, stop=lambda: False)
    opened = open_for(made, emit=lambda _: None)
    start = made.model_copy(
        update={
            "method": made.method.model_copy(
                update={"start": found.comparison.rows[1].summary.adapter}
            )
        }
    )
    run.config = start
    run.prepare(opened)
    held = run.job.held
    losses = losses_of_rows(opened, held, adapter="default", go_on=lambda _: True)
    weights = [float(held[i].weights[1:].sum()) for i in range(len(held))]
    mean = sum(x * w for x, w in zip(losses, weights, strict=True)) / sum(weights)
    assert mean == pytest.approx(held_out_loss(run.job, held, tokens=64), rel=1e-4)
    assert losses == pytest.approx(found.points[1].losses, rel=1e-4)
    assert losses_of_rows(opened, held, adapter="default", go_on=lambda _: False) in (None, losses)


def test_a_curve_that_was_stopped_says_so_and_goes_on(tmp_path):
    made = config(tmp_path)
    found, _ = go(made, tmp_path / "curve", shares=(0.5, 1.0), stop=lambda: True)
    assert (found.points, found.verdict) == ([], None)
    assert found.to_json()["verdict"] is None
    assert resume_curve(tmp_path / "curve", emit=lambda *_: None).verdict is not None


def test_what_has_no_curve_is_refused(tmp_path):
    made = config(tmp_path)
    with pytest.raises(ConfigError, match="full"):
        go(made.model_copy(update={"method": FullSettings()}), tmp_path / "a")
    timed = made.train.model_copy(update={"steps": None, "epochs": None, "minutes": 1.0})
    with pytest.raises(ConfigError, match="minutes"):
        go(made.model_copy(update={"train": timed}), tmp_path / "b")
    data = made.data.model_copy(update={"eval": 0.0})
    with pytest.raises(DataError, match="held-out"):
        go(made.model_copy(update={"data": data}), tmp_path / "c")
