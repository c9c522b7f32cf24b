"""Labels: by the check that reads one, however an answer is written."""

import pytest

from tunesmith.config.checks import ExactSettings, LabelSettings, NumberSettings
from tunesmith.evaluate.consistency.label import label_of

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
