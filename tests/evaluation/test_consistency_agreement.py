"""Forms: what is written alike is one form, and what is not is another."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.config.checks import ExactSettings, LabelSettings, NumberSettings
from tunesmith.evaluation.checks.check import CannotScore
from tunesmith.evaluation.checks.label import label_of
from tunesmith.evaluation.checks.similarity import Meanings
from tunesmith.evaluation.consistency import (
    agreement,
    equal_pairs,
    form_of,
    length_spread,
)

ALIKE = [
    ('{"a": 1, "b": 2}', '{"b": 7, "a": null}'),
    ("12", " 1,200 "),
    ("$3.50", "7 %"),
    ("Yes.", "No, not at all."),
    ("- a\n- b", "1. x\n2. y\n3. z"),
    ("좋아요.", "그렇게 하세요."),
    ("[1, 2]", '["a"]'),
    ("", "  \n"),
]
UNLIKE = [
    ('{"a": 1}', '{"a": 1, "b": 2}'),
    ('{"a": 1}', "a: 1"),
    ("12", "twelve"),
    ("Yes.", "Yes"),
    ("Yes.", "Yes?"),
    ("Yes.", "Yes.\nIt is."),
    ("좋아요.", "좋아."),
    ("- a\n- b", "a\nb"),
    ("", "Yes."),
    ("```\nx\n```", "x"),
]


@pytest.mark.parametrize(("a", "b"), ALIKE)
def test_alike(a, b):
    assert form_of(a) == form_of(b)


@pytest.mark.parametrize(("a", "b"), UNLIKE)
def test_unlike(a, b):
    assert form_of(a) != form_of(b)


def test_broken_json_and_deep_json_are_texts():
    assert form_of('{"a": ')[0] == "text"
    assert form_of("[" * 100_000)[0] == "text"


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
        raise CannotScore(a)

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


FIELD = LabelSettings(field="intent", ignore_case=True)


@pytest.mark.parametrize(
    ("checks", "a", "b"),
    [
        ([FIELD], '{"intent": "Pay"}', '{"x": 1, "intent": "pay "}'),
        ([ExactSettings(), FIELD], '{"intent": "pay"}', '{"intent":"pay"}'),
        ([NumberSettings()], "It costs 1,200.", "So the answer is 1200"),
        ([], "Yes!", "yes"),
        ([], '{"a": 1, "b": [2]}', '{"b": [2], "a": 1}'),
        ([FIELD], "no label", "No label."),
    ],
)
def test_the_same(checks, a, b):
    assert label_of(checks)(a) == label_of(checks)(b)


@pytest.mark.parametrize(
    ("checks", "a", "b"),
    [
        ([FIELD], '{"intent": "pay"}', '{"intent": "ask"}'),
        ([FIELD], '{"intent": "pay"}', "pay"),
        ([FIELD], "no label", "none here"),
        ([NumberSettings()], "12 %", "12"),
        ([NumberSettings()], "I cannot say", "Who knows"),
        ([], "1 + 1", "1 - 1"),
        ([LabelSettings(ignore_case=False)], "Pay", "pay"),
    ],
)
def test_not_the_same(checks, a, b):
    assert label_of(checks)(a) != label_of(checks)(b)


class Letters:
    """A stand-in for an embedding model: counts of a and b, of length 1."""

    def __init__(self):
        self.seen = []

    def embed(self, texts):
        self.seen += texts
        vectors = np.array([[t.count("a"), t.count("b")] for t in texts], dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_each_text_is_embedded_once_and_cosines_are_those_of_its_vectors():
    model = Letters()
    meanings = Meanings(model)
    meanings.embed(["a", "b", "ab", "a", "aa"])
    meaning = meanings.cosine
    assert sorted(model.seen) == ["a", "aa", "ab", "b"]
    assert meaning("a", "aa") == pytest.approx(1)
    assert meaning("a", "b") == pytest.approx(0)
    assert meaning("a", "ab") == pytest.approx(2**-0.5)


def test_other_letters_are_not_compared_by_a_model_for_english():
    model = Letters()
    meanings = Meanings(model, only_latin=True)
    meanings.embed(["a", "가나다라"])
    meaning = meanings.cosine
    assert model.seen == ["a"]
    with pytest.raises(CannotScore, match="does not read these letters"):
        meaning("a", "가나다라")
    assert agreement(["a", "가나다라"], None, label=str, meaning=meaning).meaning is None


def test_the_mean_is_over_pairs():
    meaning = Meanings(Letters()).cosine
    assert agreement(["a", "a", "b"], None, label=str, meaning=meaning).meaning == pytest.approx(
        1 / 3
    )
