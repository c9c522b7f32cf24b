"""label: the class of the answer, whole or in one key of its JSON."""

import pytest

from tunesmith.config.checks import LabelSettings
from tunesmith.evaluate.checks.label import label_check


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
