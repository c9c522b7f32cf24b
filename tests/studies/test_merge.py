"""Adapters become one: by a way that is named, or by the measured best, or not at all."""

import itertools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.runs.tiny import UNMEASURED
from tests.studies.combining import train
from tunesmith.adapters import combine_rules, store
from tunesmith.adapters.combined import Combined
from tunesmith.adapters.folder import FILE
from tunesmith.adapters.products import RelativeError
from tunesmith.adapters.sources import read
from tunesmith.core.errors import AdapterError, ConfigError, UsageError
from tunesmith.core.progress import Cancelled, Progress
from tunesmith.evaluation.intervals import Interval
from tunesmith.runs.evaluate import evaluate_target
from tunesmith.studies import merge as combining
from tunesmith.studies.candidates import Candidate, MergeRecipe, automatic, recipes_of
from tunesmith.studies.merge import (
    LARGE_ERROR,
    Merged,
    NothingKeepsAll,
    Trial,
    combine,
    combine_best,
    named,
)
from tunesmith.studies.tasks import TaskScores, runs_of

WAYS = ("linear", "ties", "knots", "sce")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that say opposite things when they are asked the same."""
    folder = tmp_path_factory.mktemp("runs")
    return [str(train(folder, name)) for name in ("left", "right")]


def scores(task, drops):
    """A task's scores with these drops from 90 %."""
    arms = {name: Interval(0.9 - drop, 0.0, 1.0, 10) for name, drop in drops.items()}
    arms["alone"] = Interval(0.9, 0.0, 1.0, 10)
    return TaskScores(
        task, "exact", 10, arms, {n: Interval(d, d - 0.1, d + 0.1, 10) for n, d in drops.items()}
    )


def trial(*by_task):
    candidates = [Candidate(MergeRecipe(name, None, 4), None) for name in by_task[0]]
    return Trial(candidates, [scores(f"task {i}", drops) for i, drops in enumerate(by_task)])


@pytest.mark.parametrize("seed", range(5))
def test_the_best_is_the_one_whose_worst_drop_is_smallest(seed):
    draws = torch.rand(2, len(WAYS), generator=torch.Generator().manual_seed(seed)).tolist()
    found = trial(*(dict(zip(WAYS, row, strict=True)) for row in draws))
    worst = {name: max(drops) for name, *drops in zip(WAYS, *draws, strict=True)}
    assert found.best().recipe.name == min(worst, key=worst.get)
    assert found.worst(found.best().recipe.name)[1].mean == min(worst.values())


def test_of_equal_worst_drops_the_smaller_mean_decides_then_the_order():
    found = trial(
        {"linear": 0.2, "ties": 0.2, "sce": 0.2}, {"linear": 0.2, "ties": 0.1, "sce": 0.1}
    )
    assert found.best().recipe.name == "ties"


def test_every_method_is_tried_and_no_way_twice(runs):
    blend = named(runs).blend
    found = automatic(blend)
    names = [recipe.name for recipe in found]
    assert {"linear", "magnitude", "ties", "dare", "dare-ties", "sce", "knots"} < set(names)
    assert {"ties 0.5", "sce 0.5"} < set(names)
    assert blend.rank == 4
    recipes = recipes_of(blend, kinds=["linear", "ties"], densities=[0.2, 0.5], ranks=[2, 4])
    for each in (found, recipes):
        pairs = [(recipe.method, recipe.rank) for recipe in each]
        assert all(a != b for a, b in itertools.combinations(pairs, 2))
        assert len({recipe.name for recipe in each}) == len(each)
    assert len(recipes) == 2 + 4


def test_what_costs_too_much_is_refused_with_the_figures_and_nothing_is_written(runs, tmp_path):
    with pytest.raises(NothingKeepsAll) as refusal:
        combine_best(named(runs), tmp_path / "out")
    assert "points (100 to " in refusal.value.message
    assert f"tunesmith chat --adapter {runs[0]} --adapter {runs[1]}" in refusal.value.remedy
    assert list(tmp_path.iterdir()) == []
    found = refusal.value.trial
    assert all(found.worst(each.recipe.name)[1].mean > 0.1 for each in found.candidates)
    assert [task.arms["alone"].mean for task in found.scores] == [1.0, 1.0]


def test_what_is_allowed_is_written_as_it_was_measured(runs, tmp_path):
    """Another evaluation of the folder finds the very scores that it was chosen by."""
    done = combine_best(named(runs), tmp_path / "out", max_drop=100)
    document = done.to_json()
    costs = {each["name"]: each["worst_drop"]["mean"] for each in document["tried"]}
    assert costs[document["name"]] == min(costs.values())
    assert f"Chosen from {len(costs)} recipes" in (tmp_path / "out" / store.CARD).read_text()
    asked = {"checks": [{"kind": "exact"}], "max_new_tokens": 8, "timed_rows": 0}
    checks = {"evaluate": {**asked, **UNMEASURED}}
    for run, task in zip(runs, document["scores"], strict=True):
        rows = [json.loads(line) for line in (Path(run) / "answers.jsonl").open()]
        held = tmp_path / "held.jsonl"
        held.write_text(
            "".join(
                json.dumps({"prompt": row["question"], "completion": row["reference"]}) + "\n"
                for row in rows
            )
        )
        found = evaluate_target(
            str(tmp_path / "out"),
            {"dtype": "float32", **checks},
            data=str(held),
        )
        expected = task["arms"][document["name"]]
        score = found.document["arms"]["tuned"]["checks"]["exact"]
        assert (score["score"], score["n"]) == (expected["score"], expected["n"])


def test_a_named_way_is_written_with_its_error(runs, tmp_path):
    exact = combine(named(runs), tmp_path / "sum", kind="linear").to_json()
    cut = combine(named(runs, [1.0, 0.5]), tmp_path / "cut", kind="ties", rank=1).to_json()
    assert exact["largest_difference"] < 1e-6
    assert (exact["kind"], exact["rank"], exact["scores"]) == ("lora", 4, [])
    assert 0.05 < cut["error"] <= cut["largest_difference"] < 1
    assert [each["weight"] for each in cut["adapters"]] == [1.0, 0.5]
    assert cut["bytes"] == sum(path.stat().st_size for path in (tmp_path / "cut").iterdir())
    with pytest.raises(AdapterError, match="exists already"):
        combine(named(runs), tmp_path / "sum", kind="linear")
    with pytest.raises(ConfigError, match="rank is 0"):
        combine(named(runs), tmp_path / "none", kind="linear", rank=0)


def test_one_adapter_of_weight_1_is_that_adapter(runs, tmp_path):
    combine(named(runs[:1]), tmp_path / "same", kind="ties")
    ours, theirs = (
        load_file(folder / store.TENSORS)
        for folder in (tmp_path / "same", named(runs).folders["left"])
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    one, other = read(tmp_path / "same"), read(named(runs).folders["left"])
    assert {n: s.scale for n, s in one.shapes.items()} == {
        n: s.scale for n, s in other.shapes.items()
    }


def test_a_cancel_leaves_nothing_and_the_answers_stay(runs, tmp_path, monkeypatch):
    made = combining.make_all

    def and_look(*given):
        scratch.append(given[2])
        return made(*given)

    scratch = []
    monkeypatch.setattr(combining, "make_all", and_look)
    asked = iter([False, False, True])
    monkeypatch.setattr("tunesmith.core.progress.SECONDS_BETWEEN_REPORTS", 0.0)
    progress = Progress(cancelled=lambda: next(asked, True))
    with pytest.raises(Cancelled):
        combine_best(named(runs), tmp_path / "out", progress=progress)
    assert list(tmp_path.iterdir()) == []
    assert not any(folder.exists() for folder in scratch)


def test_adapters_of_different_bases_are_refused_with_the_reason(runs, tmp_path):
    other = train(tmp_path, "left")
    origin = other / "adapter" / FILE
    text = origin.read_text().replace('"sha256": "', '"sha256": "0')
    origin.write_text(text.replace('"weights": "', '"weights": "0'))
    with pytest.raises(AdapterError, match=r"different bases: .*left/adapter names"):
        named([runs[1], str(other)])


def test_what_no_run_tells_of_is_not_chosen_among(runs, tmp_path):
    combine(named(runs), tmp_path / "sum", kind="linear")
    with pytest.raises(AdapterError, match="sum: it lies in no run") as refusal:
        combine_best(named([runs[0], str(tmp_path / "sum")]), tmp_path / "out")
    assert "--method ties" in refusal.value.remedy
    with pytest.raises(UsageError, match="nothing to choose"):
        combine_best(named(runs[:1]), tmp_path / "out")
    with pytest.raises(UsageError, match="2 adapters and 1 weight are given"):
        named(runs, [1.0])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"evaluate": None}, "has no checks"),
        ({"data": {"eval": 0}}, "held no rows out"),
        ({"data": {"train": "gone.jsonl"}}, "its rows are gone: gone.jsonl"),
    ],
)
def test_a_run_that_cannot_be_asked_says_why(runs, tmp_path, change, why):
    config = yaml.safe_load((Path(runs[0]) / "config.yaml").read_text())
    for section, values in change.items():
        config[section] = {**config[section], **values} if values else {}
    shutil.copytree(Path(runs[0]) / "adapter", tmp_path / "adapter")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    found = runs_of({"left": tmp_path / "adapter"})
    assert not found.configs
    assert why in found.left_out["left"]


def stored(kind, error, *, rank=32, trial=None):
    """A merge by a method, of adapters of rank 32 together, with this error."""
    errors = RelativeError()
    errors.add("layer", error, 1.0)
    recipe = MergeRecipe(kind, combine_rules.made(kind), rank)
    candidate = Candidate(recipe, Combined(Path("out"), 1, {"layer": rank}, errors))
    blend = SimpleNamespace(rank=32, weights=[1.0, 1.0])
    adapters = SimpleNamespace(blend=blend, folders={"a": "a", "b": "b"})
    return Merged(Path("out"), adapters, candidate, trial)


@pytest.mark.parametrize(
    ("kind", "rank", "way_out"),
    [
        ("ties", 32, "`--rank 64` stores more, and `--method linear` or `knots` fit rank 32"),
        ("linear", 8, "`--rank 32` stores all of it"),
    ],
)
def test_a_large_error_is_explained_with_a_way_out_and_a_small_one_is_not(kind, rank, way_out):
    advice = stored(kind, LARGE_ERROR + 0.02, rank=rank).advice
    assert way_out in advice
    assert f"rank {rank} holds" in advice
    assert "`--auto` measures" in advice
    assert stored(kind, LARGE_ERROR + 0.02, rank=rank).to_json()["advice"] == advice
    assert stored(kind, LARGE_ERROR - 0.02, rank=rank).advice is None


def test_what_was_measured_needs_no_advice():
    assert stored("ties", 0.9, trial=Trial([], [])).advice is None
