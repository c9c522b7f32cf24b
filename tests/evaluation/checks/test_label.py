"""label: the class of the answer, whole or in one key of its JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from tunesmith.config.checks import LabelSettings
from tunesmith.evaluation.checks.check import Case, fit_checks, score_cases
from tunesmith.evaluation.checks.label import NONE, OTHER, label_check
from tunesmith.evaluation.checks.table import build_checks


def score(answer, reference, **settings):
    return label_check(LabelSettings(**settings)).score(answer, reference)


def test_a_whole_answer_is_compared_after_trimming_with_its_case():
    assert score(" refund\n", "refund") == 1.0
    assert score("Refund", "refund") == 0.0
    assert score("Refund", "refund", ignore_case=True) == 1.0
    assert score("refund please", "refund") == 0.0


def test_only_the_named_key_counts():
    reference = '{"intent": "refund", "city": "Seoul"}'
    assert score('{"city": "Busan", "intent": " refund "}', reference, field="intent") == 1.0
    assert score('{"city": "Seoul", "intent": "return"}', reference, field="intent") == 0.0


@pytest.mark.parametrize(
    "answer",
    ["refund", '{"intent": "refund"', '["refund"]', '{"Intent": "refund"}', "", '"intent"', "NaN"],
)
def test_an_answer_without_json_or_the_key_scores_zero(answer):
    assert score(answer, '{"intent": "refund"}', field="intent") == 0.0


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ("1", "1.0", 1.0),
        ("true", "1", 0.0),
        ("null", "false", 0.0),
        ("null", "null", 1.0),
        ("9007199254740993", "9007199254740992", 0.0),
        ('["a", {"b": true}]', '["a", {"b": true}]', 1.0),
        ('["a", {"b": true}]', '["a", {"b": 1}]', 0.0),
        ('["a", "b"]', '["b", "a"]', 0.0),
        ('{"x": 1, "y": 2}', '{"y": 2, "x": 1}', 1.0),
        ('{"x": 1}', '{"x": 1, "y": 2}', 0.0),
    ],
)
def test_values_are_equal_as_json_values_are(given, wanted, expected):
    assert score(f'{{"k": {given}}}', f'{{"k": {wanted}}}', field="k") == expected


def test_a_reference_without_the_key_is_a_fault():
    check = label_check(LabelSettings(field="intent"))
    assert check.reference_fault('{"intent": "a"}') is None
    assert "intent" in check.reference_fault('{"topic": "a"}')
    assert check.reference_fault("refund") is not None
    assert check.reference_fault(None) is not None
    assert label_check(LabelSettings()).reference_fault("refund") is None


def figures(pairs, **settings):
    check = label_check(LabelSettings(**settings))
    return check.aggregate([Case(given, wanted) for given, wanted in pairs])


def test_macro_f1_is_the_mean_over_the_wanted_classes():
    # By hand: a has precision 2/3 and recall 2/2, b 1/1 and 1/2, c is never right.
    pairs = [("a", "a"), ("a", "a"), ("b", "b"), ("a", "b"), ("nonsense", "c")]
    assert figures(pairs)["macro_f1"] == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abc")), min_size=1))
def test_macro_f1_is_that_of_scikit_learn(pairs):
    given_, wanted = zip(*pairs, strict=True)
    expected = f1_score(
        wanted, given_, labels=sorted(set(wanted)), average="macro", zero_division=0
    )
    assert figures(pairs)["macro_f1"] == pytest.approx(expected)


def test_the_confusion_counts_every_row_under_the_wanted_class():
    pairs = [("a", "a"), ("b", "a"), ("hello", "a"), ("", "b"), ("B ", "b")]
    assert figures(pairs, ignore_case=True)["confusion"] == {
        "a": {"a": 1, "b": 1, OTHER: 1},
        "b": {"b": 1, NONE: 1},
    }


def test_labels_of_a_key_are_counted_by_their_value():
    pairs = [('{"k": 1}', '{"k": 1}'), ("no json", '{"k": 1}'), ('{"k": [2]}', '{"k": [2]}')]
    assert figures(pairs, field="k")["confusion"] == {"1": {"1": 1, NONE: 1}, "[2]": {"[2]": 1}}


def test_a_class_of_the_training_rows_is_named_where_it_is_given():
    (check,) = build_checks([LabelSettings()])
    (fitted,) = fit_checks([check], own=["yes", "no", "maybe"], base=[])
    cases = [Case("maybe", "yes"), Case("what?", "no"), Case("yes", "yes")]
    plain = score_cases(check, cases).figures["confusion"]
    named = score_cases(fitted, cases).figures["confusion"]
    assert plain == {"no": {OTHER: 1}, "yes": {OTHER: 1, "yes": 1}}
    assert named == {"no": {OTHER: 1}, "yes": {"maybe": 1, "yes": 1}}
    scores = [score_cases(each, cases) for each in (check, fitted)]
    assert scores[0].scores == scores[1].scores
    assert scores[0].figures["macro_f1"] == scores[1].figures["macro_f1"]
