"""Weights that keep most are found by reading held-out answers; kept is a share of a gain."""

import math
from types import SimpleNamespace

import pytest

from tests.workflows.combining import train
from tunesmith.adapters.combine import folder, table
from tunesmith.adapters.combine.factor import Fit
from tunesmith.config import load_run_config
from tunesmith.workflows import balance
from tunesmith.workflows.balance import balanced
from tunesmith.workflows.combine import named
from tunesmith.workflows.course import QUIET
from tunesmith.workflows.keeping import Keeping, least
from tunesmith.workflows.opening import open_base
from tunesmith.workflows.tasks import read_task


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [train(folder, name) for name in ("left", "right")]


@pytest.fixture
def blend(runs):
    return named([str(run) for run in runs]).blend


@pytest.fixture
def keeping(runs):
    configs = {run.name: load_run_config(run / "config.yaml", {}) for run in runs}
    opened = open_base(configs["left"].model, dtype="float32")
    tasks = [
        read_task(name, config, opened, most=9, course=QUIET) for name, config in configs.items()
    ]
    return Keeping(opened, tasks, {run.name: run / "adapter" for run in runs})


def test_an_adapter_keeps_all_of_its_own_task_and_leaves_no_trace(runs, keeping):
    for name, run in zip(("left", "right"), runs, strict=True):
        shares = keeping.shares(run / "adapter")
        assert shares[name] == pytest.approx(1.0)
        assert min(shares.values()) < 0.5  # the other one says the opposite


def test_nothing_is_kept_of_what_is_taken_away(blend, keeping, tmp_path):
    made = folder.save(
        tmp_path / "none",
        type(blend)(blend.sources, [1e-6, 1e-6]).combination(table.made("linear")),
        Fit(rank=blend.rank),
    )
    assert keeping.shares(made.folder) == pytest.approx({"left": 0.0, "right": 0.0}, abs=1e-3)


@pytest.mark.parametrize(
    ("shares", "wanted"),
    [({"a": 0.5, "b": 0.2}, 0.2), ({"a": 0.5, "b": math.nan}, 0.5), ({"a": math.nan}, math.nan)],
)
def test_what_is_kept_least_leaves_out_what_nothing_can_be_said_of(shares, wanted):
    assert least(shares) == pytest.approx(wanted, nan_ok=True)


def found(blend, tmp_path, monkeypatch, kept):
    """The way for what is kept by each weights, which stand for the folder that they make."""

    def save(_path, combination, _fit):
        return SimpleNamespace(folder=tuple(combination.weights))

    monkeypatch.setattr(balance.folder, "save", save)
    reads = SimpleNamespace(shares=lambda weights: {"a": kept(weights)})
    return balanced(blend, reads, tmp_path, QUIET)


@pytest.mark.parametrize("best", [(0.6, 1.0), (1.0, 0.4), (0.8, 0.6)])
def test_the_weights_that_keep_most_are_found(blend, tmp_path, monkeypatch, best):
    def kept(weights):
        return 1 - sum(abs(w - b) for w, b in zip(weights, best, strict=True))

    way = found(blend, tmp_path, monkeypatch, kept)
    assert way.weights == pytest.approx(best)
    assert way.name == f"linear {best[0]:g}, {best[1]:g}"


@pytest.mark.parametrize("kept", [lambda _: 0.9, lambda _: math.nan, sum])
def test_weights_that_are_as_good_stay(blend, tmp_path, monkeypatch, kept):
    assert found(blend, tmp_path, monkeypatch, kept) is None
