"""json: valid as a whole, and by the schema."""

import pytest

from tunesmith.config.checks import JsonSettings
from tunesmith.evaluate.checks.json_valid import json_check

INTENT = {
    "type": "object",
    "properties": {"intent": {"enum": ["refund", "cancel"]}},
    "required": ["intent"],
    "additionalProperties": False,
}


def score(answer, **settings):
    return json_check(JsonSettings.model_validate(settings)).score(answer, None)


@pytest.mark.parametrize("answer", ['{"a": 1}', ' \n["a"]\n', "3", '"text"', "null", '{"a": "요"}'])
def test_a_whole_json_value_passes(answer):
    assert score(answer) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "text",
        'Here it is: {"a": 1}',
        '```json\n{"a": 1}\n```',
        '{"a": 1} {"b": 2}',
        "{'a': 1}",
        '{"a": 1,}',
        '{"a": NaN}',
        "-Infinity",
        "[" * 100_000,
    ],
)
def test_anything_else_fails(answer):
    assert score(answer) == 0.0


def test_a_schema_decides_beside_the_syntax():
    assert score('{"intent": "refund"}', schema=INTENT) == 1.0
    assert score('{"intent": "dance"}', schema=INTENT) == 0.0
    assert score("{}", schema=INTENT) == 0.0
    assert score('{"intent": "refund", "more": 1}', schema=INTENT) == 0.0
    assert score("refund", schema=INTENT) == 0.0


def test_an_answer_nested_deeper_than_a_recursive_schema_can_be_followed_fails():
    tree = {"type": "array", "items": {"$ref": "#"}}
    assert score("[[]]", schema=tree) == 1.0
    assert score("[" * 400 + "]" * 400, schema=tree) == 0.0


def test_no_reference_is_needed():
    assert json_check(JsonSettings()).reference_fault(None) is None
