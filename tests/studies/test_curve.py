"""Would more data help: yes, no and cannot tell, by the interval of the last gain."""

import random
from statistics import NormalDist

import pytest

from tests.runs.tiny import config
from tunesmith.config.methods import FullSettings
from tunesmith.core.errors import ConfigError, DataError
from tunesmith.core.progress import SILENT, Cancelled, Progress, never
from tunesmith.evaluation.likelihoods import losses_of_rows
from tunesmith.evaluation.measures import KnownBase
from tunesmith.runs.prepare import prepare
from tunesmith.runs.result import open_for
from tunesmith.runs.started import begin
from tunesmith.studies.curve import SHARES, Point, assess_curve, learning_curve, resume_curve
from tunesmith.training.events import Ended
from tunesmith.training.held_out import held_out_loss


def curve(gains, *, rows, spread, seed=0):
    """Points whose mean loss falls by these shares; rows differ, and their differences vary."""
    rng = random.Random(seed)
    base = [2.0 + rng.gauss(0, 0.5) for _ in range(rows)]
    losses, mean = [base], 1.0
    for gain in gains:
        mean *= 1 - gain
        losses.append([loss * mean + rng.gauss(0, spread) for loss in base])
    return [Point(100 * 2**i, each) for i, each in enumerate(losses)]


@pytest.mark.parametrize(
    ("gains", "rows", "spread", "answer"),
    [
        ((0.2, 0.1, 0.08), 200, 0.1, "yes"),
        ((0.2, 0.03, 0.001), 200, 0.05, "no"),
        ((0.2, 0.1, -0.02), 200, 0.05, "no"),
        ((0.2, 0.05, 0.012), 40, 0.2, "cannot-tell"),
    ],
)
def test_the_interval_of_the_last_gain_decides(gains, rows, spread, answer):
    verdict = assess_curve(curve(gains, rows=rows, spread=spread), seed=0)
    assert verdict.answer == answer
    assert verdict.low <= verdict.gain <= verdict.high
    assert verdict.gain == pytest.approx(gains[-1], abs=0.03)


def test_it_is_rarely_sure_where_nothing_is_gained():
    verdicts = [
        assess_curve(curve((0.1, 0.0), rows=50, spread=0.1, seed=i), seed=0) for i in range(60)
    ]
    assert sum(v.answer == "yes" for v in verdicts) <= 3


@pytest.mark.parametrize("gain", [0.03, -0.01])
def test_as_many_rows_as_are_told_are_enough(gain):
    def alike(rows):
        """Differences of the same spread, whatever their number."""
        z = [NormalDist().inv_cdf((i + 0.5) / rows) for i in range(rows)]
        return [Point(1, [2.0] * rows), Point(2, [2 - 2 * gain - 0.3 * each for each in z])]

    unsure = assess_curve(alike(20), seed=0)
    assert unsure.answer == "cannot-tell"
    wanted = int(unsure.text.split("About ")[1].split(" ")[0].replace(",", ""))
    sizes = (wanted // 2, round(1.3 * wanted))  # few rows have less spread than many
    answers = [assess_curve(alike(n), seed=0).answer for n in sizes]
    assert answers == ["cannot-tell", "yes" if gain > 0 else "no"]


def test_what_comes_next_shrinks_as_the_gains_shrank():
    points = [Point(10 * 2**i, [loss, loss * 1.1]) for i, loss in enumerate((2.0, 1.6, 1.44))]
    verdict = assess_curve(points, seed=0)
    assert verdict.gain == pytest.approx(0.1)
    assert verdict.next_gain == pytest.approx(0.1 * 0.1 / 0.2)
    assert assess_curve(points[1:], seed=0).next_gain is None


def test_points_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="two shares"):
        assess_curve([Point(1, [1.0, 2.0])], seed=0)
    with pytest.raises(ValueError, match="same held-out rows"):
        assess_curve([Point(1, [1.0, 2.0]), Point(2, [1.0])], seed=0)


pytestmark = pytest.mark.usefixtures("home")


def go(made, out, *, shares=SHARES, cancelled=never):
    events = []

    def progress_of(name):
        return Progress(lambda event: events.append((name, event)), cancelled=cancelled)

    return learning_curve(made, out, progress_of, shares=shares), events


def test_one_held_out_row_is_refused_before_anything_is_trained(tmp_path):
    made = config(tmp_path, data={"train": str(tmp_path / "rows.jsonl"), "eval": 0.05})
    with pytest.raises(DataError, match="needs 2 held-out rows"):
        go(made, tmp_path / "curve")
    assert not (tmp_path / "curve").exists()


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
    again = resume_curve(tmp_path / "curve")
    assert again.to_json() == document


def test_losses_of_rows_are_those_of_the_run(tmp_path):
    made = config(tmp_path)
    found, _ = go(made, tmp_path / "curve", shares=(0.5, 1.0))
    loaded = open_for(made, progress=SILENT)
    start = made.model_copy(
        update={
            "method": made.method.model_copy(
                update={"init": found.comparison.rows[1].summary.adapter}
            )
        }
    )
    run = begin(start, found.comparison.rows[1].folder, SILENT)
    job = prepare(run, KnownBase(loaded)).job
    held = job.held
    losses = losses_of_rows(loaded, held, adapter="default")
    weights = [float(held[i].weights[1:].sum()) for i in range(len(held))]
    mean = sum(x * w for x, w in zip(losses, weights, strict=True)) / sum(weights)
    assert mean == pytest.approx(held_out_loss(job, held, tokens=64), rel=1e-4)
    assert losses == pytest.approx(found.points[1].losses, rel=1e-4)


def test_a_curve_that_was_cancelled_is_resumed(tmp_path):
    made = config(tmp_path)
    with pytest.raises(Cancelled):
        go(made, tmp_path / "curve", shares=(0.5, 1.0), cancelled=lambda: True)
    assert len(resume_curve(tmp_path / "curve").points) == 2


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


def test_a_loss_that_rises_is_said_to_rise():
    verdict = assess_curve(curve((0.3, -0.05), rows=200, spread=0.01), seed=0)
    assert verdict.answer == "no"
    assert "the held-out loss rose by" in verdict.text
