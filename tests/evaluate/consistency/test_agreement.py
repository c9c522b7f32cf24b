"""Agreement of answers to one question: bounds, order, and pairs counted once."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.evaluate.consistency.agreement import agreement, equal_pairs, length_spread

ANSWERS = st.lists(st.sampled_from(["yes", "no", "It is so.", '{"a": 1}', ""]), min_size=2)


@given(ANSWERS)
def test_all_measures_lie_within_bounds_and_order_does_not_matter(answers):
    one = agreement(answers, None, label=str.strip)
    assert one == agreement(answers[::-1], None, label=str.strip)
    assert one.passes is None
    assert one.meaning is None
    for value in (one.form, one.label, one.length_spread):
        assert 0 <= value <= 1


@given(ANSWERS)
def test_equal_pairs_are_counted_one_by_one(values):
    pairs = list(itertools.combinations(values, 2))
    assert equal_pairs(values) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))


def test_equal_answers_agree_wholly_and_other_ones_not_at_all():
    same = agreement(["a b", "a b"], [1.0, 1.0], label=str, meaning=lambda a, b: 0.0)
    assert (same.passes, same.form, same.label, same.meaning, same.length_spread) == (1, 1, 1, 1, 0)
    apart = agreement(["a b", '{"a": 1}'], [1.0, 0.0], label=str, meaning=lambda a, b: -0.3)
    assert (apart.passes, apart.form, apart.label, apart.meaning) == (0, 0, 0, 0)


def test_the_lowest_score_counts_and_one_without_a_score_leaves_it_open():
    assert agreement(["a", "b", "c"], [0.9, 0.2, 1.0], label=str).passes == 0.2
    assert agreement(["a", "b", "c"], [1.0, None, 1.0], label=str).passes is None


def test_a_text_that_cannot_be_read_leaves_meaning_open():
    def meaning(a, b):
        raise ValueError(a)

    assert agreement(["a", "b"], None, label=str, meaning=meaning).meaning is None
    assert agreement(["a", "a"], None, label=str, meaning=meaning).meaning == 1


def test_spread_is_of_words_and_of_characters_where_answers_are_single_words():
    assert length_spread(["a b c d", "a"]) == 0.75
    assert length_spread(["abcd", "ab"]) == 0.5
    assert length_spread(["", ""]) == 0
    assert length_spread(["", "a b"]) == 1


def test_one_answer_agrees_with_nothing():
    with pytest.raises(ValueError, match="two answers"):
        agreement(["a"], None, label=str)
