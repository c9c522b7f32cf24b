"""Answers of the untuned base that a JSON Schema holds: are they valid, and what does it cost?"""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema

from benchmarks.serving.mixed import questions
from benchmarks.serving.processes import Answer, ask, free_port, ours, running

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 30},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "email": {"type": "string", "pattern": "^[a-z]{1,9}@[a-z]{1,9}\\.com$"},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "person": PERSON,
    "numbers": {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 1,
        "maxItems": 4,
    },
    "choice": {
        "type": "object",
        "properties": {
            "kind": {"enum": ["add", "subtract", "both"]},
            "sure": {"type": "boolean"},
            "unit": {"anyOf": [{"type": "null"}, {"const": "dollar"}, {"const": "hour"}]},
        },
        "required": ["kind", "sure", "unit"],
        "additionalProperties": False,
    },
    "tree": {
        "type": "object",
        "properties": {
            "step": {"type": "string", "maxLength": 20},
            "parts": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2},
        },
        "required": ["step", "parts"],
        "additionalProperties": False,
    },
    "people": {
        "type": "object",
        "properties": {
            "people": {"type": "array", "items": {"$ref": "#/$defs/p"}, "maxItems": 2},
            "total": {"type": ["integer", "null"]},
        },
        "required": ["people", "total"],
        "additionalProperties": False,
        "$defs": {"p": PERSON},
    },
}
AT_ONCE, COST_TOKENS = 16, 64
# As long as the cost is measured: no schema that ends by itself.
ENDLESS = {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": 500}


def valid(model: str, *, answers: int, threads: int, tokens: int = 160) -> dict[str, Any]:
    """So many answers, drawn at temperature 1, of every schema in turns."""
    port, asked = free_port(), questions(20)
    with running(ours(model, port, threads=threads), port, threads=threads) as server:

        def one(number: int) -> tuple[str, Answer]:
            name = list(SCHEMAS)[number % len(SCHEMAS)]
            text = asked[number % len(asked)]
            body = _body(model, text, SCHEMAS[name], seed=number, tokens=tokens)
            return name, ask(server.url, body)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(one, range(answers)))
    ends = Counter((name, each.finish or each.error) for name, each in found)
    wrong = [
        each.text for name, each in found if each.finish == "stop" and not _is_valid(name, each)
    ]
    return {
        "answers": answers,
        "ended": sum(each.finish == "stop" for _, each in found),
        "cut": sum(each.finish == "length" for _, each in found),
        "errors": [each.error for _, each in found if each.error],
        "invalid": wrong,
        "ends": {f"{name} {end}": count for (name, end), count in sorted(ends.items())},
    }


def _is_valid(name: str, answer: Answer) -> bool:
    try:
        jsonschema.validate(json.loads(answer.text), SCHEMAS[name])
    except (ValueError, jsonschema.ValidationError):
        return False
    return True


def cost(model: str, *, threads: int, repeats: int) -> dict[str, Any]:
    """Tokens a second of 16 clients with a schema and without, in turns, of equal length."""
    port, asked = free_port(), questions(AT_ONCE)
    rates: dict[str, list[float]] = {"with": [], "without": []}
    with (
        running(ours(model, port, threads=threads), port, threads=threads) as server,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        for repeat in range(repeats + 1):
            for side, schema in (("with", ENDLESS), ("without", None)):
                bodies = [
                    _body(model, text, schema, seed=number, tokens=COST_TOKENS)
                    for number, text in enumerate(asked)
                ]
                start = time.perf_counter()
                made = list(pool.map(lambda body: ask(server.url, body), bodies))
                seconds = time.perf_counter() - start
                assert not any(each.error for each in made)
                if repeat:
                    rates[side].append(sum(each.tokens for each in made) / seconds)
    return {"tokens_per_second": rates}


def _body(
    model: str, text: str, schema: dict[str, Any] | None, *, seed: int, tokens: int
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": Path(model).name,
        "messages": [{"role": "user", "content": text}],
        "temperature": 1,
        "seed": seed,
        "max_tokens": tokens,
    }
    if schema is not None:
        named = {"name": "answer", "schema": schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return body
