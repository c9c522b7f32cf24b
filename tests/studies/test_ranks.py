"""Runs of a comparison that differ in nothing but their rank tell whether a larger one pays."""

import numpy as np

from tests.runs.tiny import ONE_CHECKPOINT, config
from tunesmith.runs.folder import RunFolder
from tunesmith.studies.compare import compare_runs, resume_comparison
from tunesmith.studies.ranks import compare_ranks
from tunesmith.studies.variants import Variant
from tunesmith.training.events import ScaledDown

NOISE = np.random.default_rng(0).normal(0, 0.05, 40)


def losses(mean):
    return (mean + NOISE).tolist()


def of_rank(base, rank, **changes):
    return base.model_copy(
        update={"method": base.method.model_copy(update={"rank": rank}), **changes}
    )


def test_only_runs_that_differ_in_nothing_else_are_compared(tmp_path):
    base = config(tmp_path)
    other = base.train.model_copy(update={"lr": 0.5})
    runs = [
        ("small", of_rank(base, 1, out="a")),
        ("large", of_rank(base, 8, out="b")),
        ("fast", of_rank(base, 2, train=other)),
        ("soft", config(tmp_path, method={"kind": "prompt", "tokens": 2})),
    ]
    known = {name: losses(2.0) for name, _ in runs} | {"large": losses(1.0)}
    (found,) = compare_ranks(runs, known)
    assert found.runs == ("small", "large")
    assert found.to_json()["text"].startswith("Rank 1 is too low")
    assert "8" in found.to_json()["texts"]["ko"]
    assert not list(compare_ranks(runs, {"small": losses(2.0)}))


def test_ranks_that_do_no_more_are_told_as_enough(tmp_path):
    base = config(tmp_path)
    runs = [("small", of_rank(base, 1)), ("large", of_rank(base, 8))]
    (found,) = compare_ranks(runs, {"small": losses(2.0), "large": losses(2.0)})
    assert "enough" in found.text()


def test_a_comparison_of_ranks_says_so(tmp_path):
    base = config(tmp_path, train=ONE_CHECKPOINT)
    variants = [Variant(f"rank {rank}", of_rank(base, rank)) for rank in (1, 2)]
    document = compare_runs(variants, tmp_path / "all").to_json()
    (found,) = document["loss_against_rank"]
    assert found["runs"] == ["rank 1", "rank 2"]
    assert len(found["falls"]) == 1
    again = resume_comparison(tmp_path / "all").to_json()
    assert again["loss_against_rank"] == document["loss_against_rank"]


def test_runs_that_were_weakened_tell_nothing_of_their_rank(tmp_path, monkeypatch):
    told = {"share": 0.8, "tried": 0.8, "probe": "piqa", "measure": "accuracy", "full": -0.1}
    monkeypatch.setattr(RunFolder, "last", lambda _, kind: told if kind is ScaledDown else None)
    base = config(tmp_path, train=ONE_CHECKPOINT)
    variants = [Variant(f"rank {rank}", of_rank(base, rank)) for rank in (1, 2)]
    found = compare_runs(variants, tmp_path / "all")
    assert found.to_json()["loss_against_rank"] == []
