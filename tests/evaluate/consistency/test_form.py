"""Forms: what is written alike is one form, and what is not is another."""

import pytest

from tunesmith.evaluate.consistency.form import form_of

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
