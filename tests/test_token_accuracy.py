"""How much a choice of a pass flatters, and the figures of held-out rows that it is made by."""

import numpy as np
import pytest
from benchmarks.methods import token_accuracy as measured
from benchmarks.methods.token_accuracy import by_loss, by_score, by_tokens, halves

from tests.training.tiny import tiny_job
from tunesmith.training.held_out import held_out_scores

PASSES, ROWS = 8, 60


def passes(*, loss, right, score):
    """Figures of rows [passes, rows, 4]; each a value for a pass, or for each row too."""
    shape = (PASSES, ROWS)
    each = [np.broadcast_to(np.array(v).reshape(PASSES, -1), shape) for v in (loss, right, score)]
    return np.stack([each[0], each[1], np.ones(shape), each[2]], axis=-1)


def luck(seed):
    """Scores of rows that no pass is better at than another."""
    return (np.random.default_rng(seed).random((PASSES, ROWS)) < 0.5).astype(float)


def test_each_choice_is_by_its_own_figure():
    found = passes(
        loss=[3, 2, 1, 2, 3, 4, 5, 6],
        right=[1, 2, 3, 3, 5, 5, 4, 4],
        score=[0, 1, 0, 0, 0, 0, 0, 0],
    )
    assert (by_loss(found), by_tokens(found), by_score(found)) == (2, 4, 1)


def test_a_choice_by_luck_flatters_and_one_without_the_scores_does_not():
    """Pure luck: the best of eight scores 5 points and more above its score on other rows."""
    flattered, honest = [], []
    for seed in range(20):
        found = passes(loss=range(PASSES), right=range(PASSES), score=luck(seed))
        own, other = halves(found, by_score, seed)
        flattered.append(own - other)
        own, other = halves(found, by_tokens, seed)
        honest.append(own - other)
    assert np.mean(flattered) > 0.05
    assert abs(np.mean(honest)) < 0.005


def test_a_pass_that_is_better_on_all_rows_is_not_flattered():
    found = passes(loss=range(PASSES), right=range(PASSES), score=[0.9] + [0.1] * (PASSES - 1))
    assert halves(found, by_score) == (pytest.approx(0.9), pytest.approx(0.9))


@pytest.mark.parametrize("method", ["lora", "projection"])
def test_sums_of_rows_are_those_of_the_run(tmp_path, monkeypatch, method):
    job = tiny_job(tmp_path, method)
    whole = held_out_scores(job, job.held, tokens=64)
    for tokens in (1, 1000):  # one row at a time, and all of them with what they share
        monkeypatch.setattr(measured, "BATCH_TOKENS", tokens)
        losses, right, weights = zip(*measured._row_sums(job), strict=True)
        assert sum(losses) / sum(weights) == pytest.approx(whole.loss, abs=1e-4)
        assert sum(right) / sum(weights) == pytest.approx(whole.token_accuracy, rel=1e-6)
