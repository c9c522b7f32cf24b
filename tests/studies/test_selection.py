"""The best of several runs on the same rows: how much that flatters, and what else may be best."""

import numpy as np
import pytest

from tunesmith.evaluation.findings import words_in
from tunesmith.studies.selection import optimism, select


def drawn(rng, runs, rows, spread):
    """Shares of right answers of runs, and their answers to rows that are hard for all alike."""
    shares = np.clip(0.7 + spread * rng.standard_normal(runs), 0.05, 0.95)
    common = rng.random((runs, rows)) < 0.5
    drawn_ = np.where(common, rng.random(rows), rng.random((runs, rows)))
    return shares, (drawn_ < shares[:, None]).astype(float)


def flattered(runs, rows, spread, draws=400):
    """By how much the best of runs was flattered on average, and the mean of the estimates."""
    rng = np.random.default_rng(0)
    true, said = [], []
    for _ in range(draws):
        shares, scores = drawn(rng, runs, rows, spread)
        means = scores.mean(axis=1)
        best = rng.choice(np.flatnonzero(means == means.max()))
        true.append(means[best] - shares[best])
        said.append(optimism(scores, seed=0))
    return float(np.mean(true)), float(np.mean(said))


@pytest.mark.parametrize("runs", [2, 4, 8, 16])
def test_equal_runs_flatter_by_what_is_said(runs):
    true, said = flattered(runs, 50, 0.0)
    assert true > 0.03
    assert 0.85 * true < said < 1.1 * true


@pytest.mark.parametrize("runs", [4, 8])
def test_runs_that_differ_flatter_by_no_more_than_is_said(runs):
    true, said = flattered(runs, 100, 0.05)
    assert true < said < 1.6 * true


def test_all_runs_alike_flatter_by_nothing():
    row = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    assert select({"a": row, "b": row, "c": row}).optimism == pytest.approx(0, abs=0.01)


def test_the_true_best_is_among_those_not_clearly_worse_in_95_of_100_choices():
    rng, missed, choices = np.random.default_rng(1), 0, 400
    for _ in range(choices):
        shares, scores = drawn(rng, 6, 60, 0.05)
        found = select({str(i): each.tolist() for i, each in enumerate(scores)})
        missed += str(shares.argmax()) not in {found.best, *found.near}
    assert missed <= 0.05 * choices


def test_runs_that_score_the_same_have_no_best():
    found = select({"a": [1.0, 0.0], "b": [0.0, 1.0]})
    assert found.describe(words_in()) == (
        "All 2 runs score 50 % on the same 2 rows: these do not tell them apart."
    )


def test_a_run_far_ahead_leaves_no_other():
    found = select({"low": [0.0] * 40, "high": [1.0] * 40, "middle": [0.0, 1.0] * 20})
    assert (found.best, found.near) == ("high", [])
    assert found.describe(words_in()) == (
        "Best score: high, 100 %, of 3 runs on the same 40 rows. Every other run is clearly worse."
    )


def test_what_is_not_clearly_worse_is_named_with_what_the_score_is_worth():
    rng = np.random.default_rng(2)
    near = {name: (rng.random(50) < 0.7).astype(float).tolist() for name in "abcdef"}
    found = select({**near, "far": [0.0] * 50})
    assert found.near == [name for name in near if name != found.best]
    said = found.describe(words_in())
    expected = f"{100 * (found.score - found.optimism):.0f} %"
    assert f"about {100 * found.optimism:.0f} points: expect about {expected} on others." in said
    assert f"Not clearly worse: {', '.join(found.near)}." in said
    assert "%p쯤" in found.describe(words_in("ko"))


@pytest.mark.parametrize("scores", [{"a": [1.0, 0.0]}, {"a": [1.0], "b": [0.0]}])
def test_one_run_or_one_row_is_no_choice(scores):
    with pytest.raises(ValueError, match="two runs and two rows"):
        select(scores)
