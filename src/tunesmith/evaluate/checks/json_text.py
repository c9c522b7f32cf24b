"""Is a whole text one JSON value (RFC 8259), and when are two JSON values the same?"""

import json
from typing import NoReturn

from pydantic import JsonValue

from tunesmith.evaluate.checks.text import trimmed


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
