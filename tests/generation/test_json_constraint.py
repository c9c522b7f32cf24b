"""Answers of a schema are valid JSON of it, whatever the model would rather say."""

import json
import time

import jsonschema
import pytest
import torch

from tests.data.families import APERTUS_8B, FAMILIES
from tests.models.tiny import tiny_tokenizer
from tunesmith.core.errors import DataError
from tunesmith.data.call_format import study_calls
from tunesmith.data.chat_format import study
from tunesmith.data.rows import ToolCall
from tunesmith.data.tokenizer import decode
from tunesmith.generation.json_constraint import JsonGrammars

TOKENIZER = tiny_tokenizer()
END = TOKENIZER.eos_token_id
SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["refund", "order", "한국어"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 2},
    },
    "required": ["intent", "count", "tags"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def grammars():
    return JsonGrammars([END])


def drawn(constraint, seed, most=400, *, tokenizer=TOKENIZER, end=END):
    """An answer of a model that has no idea, and whether it ended."""
    generator, ids = torch.Generator().manual_seed(seed), []
    while len(ids) < most:
        scores = constraint.allow(torch.randn(len(tokenizer) + 3, generator=generator))
        assert torch.isinf(scores[len(tokenizer) :]).all(), "ids that are no token"
        token = int(scores.argmax())
        constraint.accept(token)
        if token == end:
            return decode(tokenizer, ids), True
        ids.append(token)
    return decode(tokenizer, ids), False


def test_what_ends_is_json_of_the_schema(grammars):
    first = grammars.constraint(TOKENIZER, SCHEMA)
    found = [drawn(first.copy(), seed) for seed in range(30)]
    whole = [text for text, ended in found if ended]
    assert len(whole) > 20
    for text in whole:
        jsonschema.validate(json.loads(text), SCHEMA)
    assert len(set(whole)) > 20


def test_blanks_are_not_written_for_ever(grammars):
    constraint = grammars.constraint(TOKENIZER, {"type": "object"})
    blanks = [TOKENIZER.convert_tokens_to_ids(token) for token in ("Ġ", "ĠĠ", "Ċ")]
    for _ in range(40):
        scores = torch.zeros(len(TOKENIZER))
        scores[blanks] = 1.0
        constraint.accept(int(constraint.allow(scores).argmax()))
        if int(constraint.allow(scores).argmax()) not in blanks:
            return
    pytest.fail("it still writes blanks")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"type": "string", "pattern": "(((("},
        {"$ref": "#/nowhere"},
        {"enum": ["x" * 70_000]},
    ],
)
def test_a_schema_that_is_wrong_is_refused_soon(grammars, schema):
    start = time.monotonic()
    with pytest.raises(DataError, match="schema"):
        grammars.constraint(TOKENIZER, schema)
    assert time.monotonic() - start < 10


def test_a_token_that_cannot_follow_is_a_fault(grammars):
    constraint = grammars.constraint(TOKENIZER, SCHEMA)
    constraint.accept(TOKENIZER.convert_tokens_to_ids("x"))  # which no object begins with
    assert constraint.fault
    scores = torch.randn(9)
    assert constraint.allow(scores) is scores


def test_a_schema_that_explodes_costs_little(grammars):
    pattern = "(a{1,1000}){1,1000}(b{1,1000}){1,1000}"
    deep = {"anyOf": [{"type": "string", "pattern": pattern + "c" * i} for i in range(30)]}
    start = time.monotonic()
    drawn(grammars.constraint(TOKENIZER, deep), 0, most=20)
    assert time.monotonic() - start < 10


WEATHER = {"properties": {"city": {"enum": ["Oslo", "서울"]}, "days": {"enum": [1, 23]}}}
TOOLS = {
    "weather": {**WEATHER, "required": ["city", "days"], "additionalProperties": False},
    "stop": {"type": "object", "properties": {}, "additionalProperties": False},
}
FORMS = ("qwen3", "qwq", "llama3_1", "mistral_nemo", "ministral3", "gpt_oss")


@pytest.mark.parametrize("name", [*FORMS, "apertus"])
def test_a_forced_call_is_one_of_the_familys_form(name):
    """A model without any idea writes calls that the family's own reader reads."""
    family = {**FAMILIES, "apertus": APERTUS_8B}[name]
    tokenizer = family.tokenizer
    end = tokenizer.convert_tokens_to_ids(family.end)
    form = study_calls(tokenizer, study(tokenizer).tools)
    free = JsonGrammars([end]).calls(tokenizer, form, TOOLS, most=3)
    single = JsonGrammars([end]).calls(tokenizer, form, TOOLS, most=1)
    counts = []
    for seed in range(6):
        for constraint in (free, single):
            text, ended = drawn(constraint.copy(), seed, 900, tokenizer=tokenizer, end=end)
            assert ended
            calls = form.read(text)
            for call in calls:
                jsonschema.validate(call.arguments, TOOLS[call.name])
            counts.append(len(calls))
    assert min(counts) == 1
    assert set(counts[1::2]) == {1}
    assert (max(counts) > 1) == (form.between is not None)


def test_calls_as_a_template_writes_them_are_followed():
    """What the template writes of a call is what the grammar lets the model write."""
    tokenizer = FAMILIES["mistral_nemo"].tokenizer
    form = study_calls(tokenizer, study(tokenizer).tools)
    call = '{"name": "weather", "arguments": {"city": "Oslo", "days": 23}, "id": "abc123XYZ"}'
    text = f"[TOOL_CALLS][{call}]"
    assert form.read(text) == [ToolCall("weather", {"city": "Oslo", "days": 23})]
    constraint = JsonGrammars([tokenizer.eos_token_id]).calls(tokenizer, form, TOOLS)
    for token in tokenizer.encode(text, add_special_tokens=False):
        constraint.accept(token)
    assert constraint.fault is None
