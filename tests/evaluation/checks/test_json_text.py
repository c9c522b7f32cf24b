"""A schema that cannot work is refused when it is read, never at the first answer."""

import json
import socket

import pytest

from tunesmith.config.checks import JsonSettings
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.json_text import json_check, load_validator


def test_a_file_and_the_same_schema_in_place_judge_alike(tmp_path):
    schema = {"type": "object", "required": ["intent"]}
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema), encoding="utf-8")
    from_file, in_place = load_validator(str(path)), load_validator(schema)
    for value in ({"intent": 1}, {}, [], "x"):
        assert from_file.is_valid(value) == in_place.is_valid(value) == ("intent" in value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.json cannot be read"):
        load_validator(str(tmp_path / "nowhere.json"))


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, "{'type': 'object'}"])
def test_a_file_that_is_not_json_is_named(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.json is not JSON"):
        load_validator(str(path))


def test_a_file_that_holds_no_schema_is_refused(tmp_path):
    path = tmp_path / "list.json"
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"list\.json is neither an object nor"):
        load_validator(str(path))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "objct"}, r"not valid at \$\.type"),
        ({"properties": {"a": {"pattern": "("}}}, r"not valid at \$\.properties\.a\.pattern"),
        ({"$schema": "urn:nobody:knows"}, "dialect that is not known: 'urn:nobody:knows'"),
        ({"$ref": "#/$defs/x"}, r"refers to #/\$defs/x"),
        ({"properties": {"a": {"$ref": "#anchor"}}}, "refers to #anchor"),
        ({"$ref": "other.json"}, r"refers to other\.json"),
        ({"$ref": "#/kept/here", "kept": {"here": {"$ref": "#/gone"}}}, "refers to #/gone"),
        ({"$ref": "#"}, "refers to itself without end"),
    ],
)
def test_a_schema_that_cannot_work_says_where(schema, message):
    with pytest.raises(ConfigError, match=message):
        load_validator(schema)


def test_references_inside_the_schema_are_followed():
    inner = {"$id": "y.json", "$ref": "#/$defs/z", "$defs": {"z": {"required": ["b"]}}}
    validator = load_validator(
        {"$id": "urn:x/x.json", "items": {"$ref": "y.json"}, "$defs": {"q": inner}}
    )
    assert validator.is_valid([{"b": 1}])
    assert not validator.is_valid([{"a": 1}])


def test_a_name_of_a_reference_in_an_enum_is_a_value_not_a_reference():
    assert load_validator({"enum": [{"$ref": "#/gone"}]}).is_valid({"$ref": "#/gone"})


def test_an_address_is_never_fetched(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("a schema reached for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(ConfigError, match="refers to https://example"):
        load_validator({"$ref": "https://example.invalid/schema.json"})


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
