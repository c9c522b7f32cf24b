"""json: is the whole answer valid JSON, and valid against the schema where one is given?"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from pydantic import JsonValue
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, Schema, UnknownDialect, specification_with

from tunesmith.config.checks import JsonSettings
from tunesmith.core.errors import ConfigError
from tunesmith.evaluation.checks.check import Case, Check, trimmed

if TYPE_CHECKING:
    from referencing._core import Resolver


class NotJson(ValueError):
    """The text is not one JSON value."""


def parse_json(text: str) -> JsonValue:
    """The value of the whole text, trimmed; raises NotJson, also for Python's NaN and Infinity."""
    try:
        value: JsonValue = json.loads(text.strip(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NotJson(str(error)) from None
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def value_of_key(text: str, key: str) -> JsonValue:
    """The value under ``key`` of a text that is one JSON object; raises NotJson without one."""
    value = parse_json(text)
    if not isinstance(value, dict) or key not in value:
        raise NotJson(f'it is no JSON object with the key "{key}"')
    return value[key]


def same_value(a: JsonValue, b: JsonValue, *, ignore_case: bool = False) -> bool:
    """Equality of JSON values: texts after trimming, 1 equals 1.0, but true does not equal 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, str) and isinstance(b, str):
        a, b = trimmed(a), trimmed(b)
        return a.casefold() == b.casefold() if ignore_case else a == b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(
            same_value(x, y, ignore_case=ignore_case) for x, y in zip(a, b, strict=True)
        )
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(
            same_value(a[key], b[key], ignore_case=ignore_case) for key in a
        )
    return a == b


REMEDY = "Set `schema` of the json check to a JSON Schema that is complete in itself."


def load_validator(schema: str | dict[str, JsonValue]) -> Validator:
    """The validator of a schema given as a file or in place.

    The dialect is what `$schema` names, else draft 2020-12; `format` is not asserted. Nothing is
    ever fetched: raises ConfigError for a file that cannot be read, a schema that is not valid,
    an unknown dialect, or a `$ref` that leads out of the schema, nowhere or only to itself.
    """
    where = f"The JSON Schema {schema}" if isinstance(schema, str) else "The JSON Schema"
    contents = _read(Path(schema)) if isinstance(schema, str) else schema
    try:
        return _checked_validator(contents)
    except _Unusable as fault:
        raise ConfigError(f"{where} {fault}", remedy=REMEDY) from None


class _Unusable(Exception):
    """Why a schema cannot be used, as the end of a sentence that begins with its name."""


def _read(path: Path) -> JsonValue:
    try:
        contents: JsonValue = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The JSON Schema {path} cannot be read: {error}.", remedy=REMEDY
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"The JSON Schema {path} is not JSON: {error}.", remedy=REMEDY) from None
    return contents


def _checked_validator(contents: JsonValue) -> Validator:
    if not isinstance(contents, dict | bool):
        raise _Unusable(f"is neither an object nor true or false: {contents!r}.")
    dialect = contents.get("$schema") if isinstance(contents, dict) else None
    try:
        specification = specification_with(str(dialect)) if dialect is not None else DRAFT202012
    except UnknownDialect:
        raise _Unusable(f"names a dialect that is not known: {dialect!r}.") from None
    kind = validator_for(contents, default=Draft202012Validator)
    try:
        if isinstance(contents, dict):
            kind.check_schema(contents)
    except SchemaError as error:
        raise _Unusable(f"is not valid at {error.json_path}: {error.message}.") from None
    root = specification.create_resource(contents)
    dead = sorted(set(_dead_references(root, REGISTRY.resolver_with_root(root), set())))
    if dead:
        raise _Unusable(f"refers to {', '.join(dead)}, which it does not hold.")
    validator = kind(contents, registry=REGISTRY)
    try:
        validator.is_valid({})
    except RecursionError:
        raise _Unusable("refers to itself without end.") from None
    return validator


def _dead_references(
    schema: Resource[Schema], resolver: "Resolver[Schema]", seen: set[int]
) -> Iterator[str]:
    """The references of a schema, and of all that it leads to, which find nothing."""
    contents = schema.contents
    if id(contents) in seen or not isinstance(contents, Mapping):
        return
    seen.add(id(contents))
    resolver = resolver.in_subresource(schema)
    for keyword in ("$ref", "$dynamicRef"):
        reference = contents.get(keyword)
        if not isinstance(reference, str):
            continue
        try:
            found = resolver.lookup(reference)
        except (Unresolvable, ValueError):
            yield reference
            continue
        target = Resource.from_contents(found.contents, default_specification=DRAFT202012)
        yield from _dead_references(target, found.resolver, seen)
    for inner in schema.subresources():
        yield from _dead_references(inner, resolver, seen)


def json_check(settings: JsonSettings) -> Check:
    """1.0 where the answer, trimmed, is one JSON value that its schema accepts.

    Raises ConfigError for a schema that cannot work.
    """
    schema = settings.json_schema
    validator = None if schema is None else load_validator(schema)

    def is_valid(case: Case) -> float:
        try:
            value = parse_json(case.answer)
            return float(validator is None or validator.is_valid(value))
        except (NotJson, RecursionError):  # an answer may nest deeper than Python can follow
            return 0.0

    return Check(rule=is_valid)
