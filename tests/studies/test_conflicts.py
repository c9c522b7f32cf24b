"""What clashes is told in the weights, in the scores, and in a sentence that agrees with both."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.adapters.combining import change_tensors
from tests.studies.combining import train
from tests.studies.test_merge import trial
from tunesmith.adapters import sources
from tunesmith.adapters.conflicts import conflicts
from tunesmith.core.errors import AdapterError
from tunesmith.core.progress import Notice, Progress
from tunesmith.evaluation import answering
from tunesmith.studies.conflicts import assess_conflicts, find_conflicts
from tunesmith.studies.merge import named


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [str(train(folder, name)) for name in ("left", "right")]


@pytest.fixture
def bare(runs, tmp_path):
    """Copies of the adapters that lie in no run."""
    return [str(shutil.copytree(Path(run) / "adapter", tmp_path / Path(run).name)) for run in runs]


def test_a_planted_conflict_is_found_in_the_answers(runs):
    found = find_conflicts(named(runs))
    document = found.to_json()
    (pair,) = document["pairs"]
    assert (pair["a"], pair["b"]) == ("left", "right")
    assert {"cosine", "sign_conflict", "subspace_overlap", "layers"} < pair.keys()
    assert {"layer", "depth", "kind", "cosine"} < pair["layers"][0].keys()
    assert document["verdict"]["answer"] == "clash"
    text = document["verdict"]["text"]
    assert "After a linear merge left falls from 100 to " in text
    assert text.endswith("Serving them side by side keeps all of them whole.")
    assert document["side_by_side"] == f"tunesmith chat --adapter {runs[0]} --adapter {runs[1]}"
    for task in document["scores"]:
        alone, linear = task["arms"]["alone"], task["arms"]["linear"]
        assert linear["drop"]["mean"] == pytest.approx(alone["score"] - linear["score"])


def test_tasks_that_ask_the_same_are_answered_once(runs, monkeypatch):
    """Both tasks have the same questions, and each combination is one voice."""
    asked, generate = [], answering.generate

    def counted(engine, prompts, **options):
        asked.extend((prompt.adapter, prompt.ids) for prompt in prompts)
        return generate(engine, prompts, **options)

    monkeypatch.setattr(answering, "generate", counted)
    find_conflicts(named(runs))
    assert asked
    assert len(asked) == len(set(asked))
    asked.clear()
    find_conflicts(named(runs))
    assert asked == []


def test_without_runs_weights_are_measured_and_no_score_is_claimed(bare):
    found = find_conflicts(named(bare))
    assert (found.trial, found.verdict.answer) == (None, "cannot-tell")
    assert "weights alone do not show it" in found.verdict.text
    assert list(found.left_out) == ["left", "right"]
    assert found.to_json()["scores"] == []
    with pytest.raises(AdapterError, match="left: it lies in no run"):
        find_conflicts(named(bare), scores=True)


def test_of_three_adapters_every_pair_is_told_by_name(bare, tmp_path):
    third = shutil.copytree(bare[1], tmp_path / "third")
    found = find_conflicts(named([*bare, str(third)]))
    pairs = [(pair.a, pair.b) for pair in found.pairs]
    assert pairs == [("left", "right"), ("left", "third"), ("right", "third")]
    assert "right and third: they work in the same places (cosine +1.00" in found.verdict.text
    assert found.to_json()["side_by_side"].count("--adapter") == 3


def test_scores_that_are_not_wanted_take_no_base(runs, monkeypatch):
    monkeypatch.setattr("tunesmith.studies.merge.open_for", None)
    assert find_conflicts(named(runs), scores=False).trial is None


def test_one_run_alone_is_measured_beside_an_adapter_without(runs, bare):
    found = find_conflicts(named([runs[0], bare[1]]))
    assert [each.task for each in found.trial.scores] == ["left"]
    assert list(found.left_out) == ["right"]


def test_where_measuring_fails_the_weights_are_still_told(runs, monkeypatch):
    def gone(*_, **__):
        raise AdapterError("no base here")

    monkeypatch.setattr("tunesmith.studies.merge.open_for", gone)
    events = []
    found = find_conflicts(named(runs), progress=Progress(events.append))
    assert found.trial is None
    told = [each.message for each in events if isinstance(each, Notice)]
    assert told == ["what merging costs was not measured: no base here"]
    with pytest.raises(AdapterError, match="no base here"):
        find_conflicts(named(runs), scores=True)


def opposed(bare, layers):
    """Two adapters, the second the negation of the first in these blocks."""
    shutil.rmtree(bare[1])
    shutil.copytree(bare[0], bare[1])

    def turn(name, tensor):
        return (
            -tensor if "lora_B" in name and any(f"layers.{i}." in name for i in layers) else tensor
        )

    change_tensors(Path(bare[1]), turn)
    return conflicts(*(sources.read(Path(folder)) for folder in bare))


@pytest.mark.parametrize(
    ("layers", "said"),
    [((0,), "Layers 0 pull"), ((0, 1), "Layers 0-1 pull"), ((), "They work in the same places")],
)
def test_blocks_that_oppose_are_named(bare, layers, said):
    found = opposed(bare, layers)
    assert assess_conflicts({("a", "b"): found}, None).text.startswith(said)
    several = assess_conflicts({("a", "b"): found, ("a", "c"): found}, None)
    assert f"a and c: {said[0].lower()}{said[1:]}" in several.text


def test_what_reading_lets_expect_stands_beside_what_was_measured(bare):
    draws = torch.Generator().manual_seed(0)
    for folder in bare:
        change_tensors(Path(folder), lambda _, t: torch.randn(t.shape, generator=draws))
    apart = conflicts(*(sources.read(Path(folder)) for folder in bare))
    measured = trial({"linear": 0.5, "ties": 0.3})
    lost = ({"task 0": 0.3, "task 1": -0.01}, {"task 0": 0.08, "task 1": 0.05})
    candidates = [replace(c, lost=n) for c, n in zip(measured.candidates, lost, strict=True)]
    read = replace(measured, candidates=candidates)
    found = assess_conflicts({("a", "b"): apart}, read)
    assert (found.expected, found.answer) == ("fits", "clash")
    assert found.text.startswith("They hardly meet (cosine ")
    assert "`ties` loses least: task 0 0.08, task 1 0.05 (nats a token)." in found.text
    less = replace(read, candidates=candidates[:1])
    assert assess_conflicts({("a", "b"): apart}, less).expected == "clash"
    assert assess_conflicts({("a", "b"): apart}, measured).expected == "cannot-tell"
    same = assess_conflicts({("a", "b"): opposed(bare, ())}, None)
    assert (same.expected, same.answer) == ("cannot-tell", "cannot-tell")


def test_the_verdict_is_that_of_the_best_merge_and_names_it(bare):
    found = {("a", "b"): opposed(bare, ())}
    fits = assess_conflicts(
        found, trial({"linear": 0.1, "ties": 0.2}, {"linear": 0.05, "ties": 0.0})
    )
    assert fits.answer == "fits"
    assert "task 0 goes from 90 to 80 %" in fits.text
    assert "ties" not in fits.text
    even = assess_conflicts(
        found, trial({"linear": 0.1, "ties": 0.1}, {"linear": 0.1, "ties": 0.0})
    )
    assert "ties" not in even.text
    clash = assess_conflicts(
        found, trial({"linear": 0.3, "ties": 0.2}, {"linear": 0.0, "ties": 0.05})
    )
    assert clash.answer == "clash"
    assert "task 0 falls from 90 to 60 %, task 1 goes from 90 to 90 %" in clash.text
    assert "`ties` costs least: task 0 70 %, task 1 85 %" in clash.text


def test_an_untrained_adapter_is_called_so(bare):
    change_tensors(Path(bare[1]), lambda name, t: 0 * t if "lora_B" in name else t)
    found = conflicts(*(sources.read(Path(folder)) for folder in bare))
    assert math.isnan(found.overall.cosine)
    text = assess_conflicts({("a", "b"): found}, None).text
    assert text.startswith("One of them changes nothing")
    assert "nan" not in text
