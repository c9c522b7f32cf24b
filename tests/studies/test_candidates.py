"""The weights that lose least are found by reading held-out answers."""

from types import SimpleNamespace

import pytest

from tests.studies.combining import train
from tunesmith.adapters.loaded_base import open_base
from tunesmith.config import load_run_config
from tunesmith.core.progress import SILENT
from tunesmith.studies import candidates
from tunesmith.studies.candidates import balanced
from tunesmith.studies.merge import named
from tunesmith.studies.tasks import Keeping, read_task


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
    loaded = open_base(configs["left"].model, dtype="float32")
    tasks = [
        read_task(name, config, loaded, limit=9, progress=SILENT)
        for name, config in configs.items()
    ]
    return Keeping(loaded, tasks, {run.name: run / "adapter" for run in runs})


def test_an_adapter_loses_nothing_of_its_own_task(runs, keeping):
    for run in runs:
        lost = keeping.lost(run / "adapter")
        assert lost[run.name] == pytest.approx(0.0, abs=1e-6)
        assert max(lost.values()) > 1.0  # the other one says the opposite


def found(blend, tmp_path, monkeypatch, lost):
    """The way for what is lost by each weights, which stand for the folder that they make."""

    def save(_path, combination, _fit):
        return SimpleNamespace(folder=tuple(combination.weights))

    monkeypatch.setattr(candidates.combined, "save", save)
    reads = SimpleNamespace(lost=lambda weights: {"a": lost(weights)})
    return balanced(blend, reads, tmp_path, SILENT)


@pytest.mark.parametrize("best", [(0.6, 1.0), (1.0, 0.4), (0.8, 0.6)])
def test_the_weights_that_lose_least_are_found(blend, tmp_path, monkeypatch, best):
    def lost(weights):
        return sum(abs(w - b) for w, b in zip(weights, best, strict=True))

    recipe = found(blend, tmp_path, monkeypatch, lost)
    assert recipe.weights == pytest.approx(best)
    assert recipe.name == f"linear {best[0]:g}, {best[1]:g}"


@pytest.mark.parametrize("lost", [lambda _: 0.9, lambda weights: -sum(weights)])
def test_weights_that_are_as_good_stay(blend, tmp_path, monkeypatch, lost):
    assert found(blend, tmp_path, monkeypatch, lost) is None
