"""Diversity against the data's own: collapse is sure, and chance is not named."""

import numpy as np
import pytest

from tunesmith.evaluate.overtuning.diagnose import CHANCE, COLLAPSED
from tunesmith.evaluate.overtuning.diversity import distinct_grams, diversity_of


def test_collapse_is_sure():
    found = diversity_of(["same"] * 50, [f"a {i}" for i in range(50)], seed=0)
    assert (found.distinct, found.own_distinct, found.commonest) == (1, 50, 1)
    assert found.kept == 0.02
    assert found.p < CHANCE


def test_distinct_grams_are_counted_by_hand():
    assert distinct_grams(["a b", "a c"], 1) == 3 / 4
    assert distinct_grams(["a b", "a b"], 2) == 1 / 2
    assert distinct_grams(["a"], 2) == 0


def test_two_labels_of_which_one_is_rare_are_not_collapsed_by_missing_it():
    own = ["often"] * 38 + ["rarely"] * 2
    found = diversity_of(["often"] * 40, own, seed=0)
    assert found.kept == COLLAPSED
    assert found.p > CHANCE


def test_answers_from_the_same_source_are_seldom_called_collapsed():
    false = 0
    for repeat in range(150):
        rng = np.random.default_rng(repeat)
        weights = rng.dirichlet(np.ones(30))
        sides = rng.choice(30, (2, 60), p=weights)
        tuned, own = ([f"label {i}" for i in side] for side in sides)
        found = diversity_of(tuned, own, seed=0, swaps=300)
        false += found.p <= CHANCE and found.kept <= COLLAPSED
    assert false == 0


def test_p_is_as_often_small_as_it_says():
    small = 0
    for repeat in range(200):
        rng = np.random.default_rng([1, repeat])
        sides = rng.choice(30, (2, 40))
        tuned, own = ([f"{i}" for i in side] for side in sides)
        small += diversity_of(tuned, own, seed=0, swaps=300).p <= 0.05
    assert small / 200 <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5


def test_more_diverse_answers_are_no_loss():
    found = diversity_of([f"a {i}" for i in range(20)], ["b"] * 20, seed=0)
    assert (found.kept, found.p) == (20, 1)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="no answers"):
        diversity_of([], [], seed=0)
    with pytest.raises(ValueError, match="of different numbers"):
        diversity_of(["a", "b"], ["a"], seed=0)


def test_the_document_has_both_sides():
    found = diversity_of(["a b", "a c"], ["d e", "f g"], seed=0).to_json()
    assert found["tuned"] == {
        "distinct": 2,
        "commonest_share": 0.5,
        "distinct_1": 0.75,
        "distinct_2": 1.0,
    }
    assert found["own"].keys() == found["tuned"].keys()
