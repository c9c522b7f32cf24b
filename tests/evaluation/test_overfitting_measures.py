"""The gap between training and held-out rows: simulated truth is covered, and order is kept."""

from dataclasses import asdict

import numpy as np
import pytest

from tunesmith.evaluation.overfitting import CHANCE, COLLAPSED
from tunesmith.evaluation.overfitting_measures import (
    RowLosses,
    difference_of_means,
    distinct_grams,
    diversity_of,
    gap_of,
    verbatim_of,
)


def test_means_and_signs():
    found = gap_of(RowLosses([0.1, 0.2], [5.0, 6.0]), RowLosses([1.0, 1.4], [5.0, 5.0]), seed=0)
    assert (found.train_loss, found.held_out_loss) == pytest.approx((0.15, 1.2))
    assert found.gap.mean == pytest.approx(1.05)
    assert found.gap.low < 1.05 < found.gap.high
    assert found.train_change.mean == pytest.approx(-5.35)
    assert found.held_out_change.mean == pytest.approx(-3.8)


def test_without_a_base_the_gap_is_there_and_the_changes_are_not():
    found = gap_of(RowLosses([0.1, 0.2]), RowLosses([1.0, 1.4]), seed=0)
    assert found.train_change is None
    assert found.held_out_change is None
    assert found.gap.mean == pytest.approx(1.05)


def test_equal_losses_have_an_interval_without_width():
    found = gap_of(RowLosses([0.1] * 5), RowLosses([0.4] * 5), seed=0)
    assert (found.gap.low, found.gap.high) == pytest.approx((0.3, 0.3))


def test_one_row_is_refused():
    with pytest.raises(ValueError, match="two rows"):
        gap_of(RowLosses([0.1]), RowLosses([1.0, 1.4]), seed=0)


@pytest.mark.usefixtures("few_resamples")
def test_skewed_losses_are_covered_as_often_as_promised():
    repeats, missed_low, missed_high = 200, 0, 0
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        a = (rng.lognormal(-2, 1.2, 60)).tolist()
        b = (rng.lognormal(-1, 1.2, 60)).tolist()
        truth = float((np.exp(-1) - np.exp(-2)) * np.exp(0.72))
        found = difference_of_means(a, b, seed=0)
        missed_low += found.low > truth
        missed_high += found.high < truth
    # a lower limit that is too high would be a false alarm; an upper one only hides
    assert missed_low / repeats <= 0.025 + 2 * (0.025 * 0.975 / repeats) ** 0.5
    assert missed_high / repeats <= 0.10


@pytest.mark.parametrize("swap", [False, True])
def test_either_side_alone_makes_the_gap_unsure(swap):
    sure, unsure = [1.0] * 20, [0.2, 0.4, 0.9, 2.1] * 5
    a, b = (unsure, sure) if not swap else (sure, unsure)
    found = difference_of_means(a, b, seed=0)
    assert found.low < found.mean - 0.1
    assert found.high > found.mean + 0.1


def test_two_unsure_sides_make_it_less_sure_than_one():
    rows = [0.2, 0.4, 0.9, 2.1] * 5
    one = difference_of_means(rows, [1.0] * 20, seed=0)
    two = difference_of_means(rows, [0.1, 1.5] * 10, seed=0)
    assert two.high - two.low > one.high - one.low


LONG = [f"this is the long answer number {i}" for i in range(40)]


def test_copied_answers_are_seen_beyond_what_the_data_repeats():
    own = [f"another held out answer to {i} here" for i in range(40)]
    found = verbatim_of(LONG, own, LONG, seed=0)
    assert (found.tuned.mean, found.own.mean) == (1, 0)
    assert found.excess.low > 0.8


def test_data_that_repeats_itself_has_no_excess():
    found = verbatim_of(LONG, LONG, LONG, seed=0)
    assert (found.tuned.mean, found.own.mean, found.excess.mean) == (1, 1, 0)


def test_labels_and_set_phrases_do_not_count():
    assert verbatim_of(["yes"] * 9, ["no"] * 9, ["yes", "no"], seed=0) is None
    phrase = "thank you very much for asking me"
    found = verbatim_of([phrase] * 9, LONG[:9], [phrase, phrase], seed=0)
    assert found.tuned.mean == 0


def test_case_and_punctuation_do_not_matter():
    found = verbatim_of([LONG[0].upper() + "!"], [LONG[1]], LONG, seed=0)
    assert found.tuned.mean == found.own.mean == 1


def test_sides_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        verbatim_of(LONG, LONG[:3], LONG, seed=0)


def test_collapse_is_sure():
    found = diversity_of(["same"] * 50, [f"a {i}" for i in range(50)], seed=0)
    assert (found.tuned.distinct, found.own.distinct, found.tuned.commonest_share) == (1, 50, 1)
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
    found = asdict(diversity_of(["a b", "a c"], ["d e", "f g"], seed=0))
    assert found["tuned"] == {
        "distinct": 2,
        "commonest_share": 0.5,
        "distinct_1": 0.75,
        "distinct_2": 1.0,
    }
    assert found["own"].keys() == found["tuned"].keys()
