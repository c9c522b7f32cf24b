"""The numbers that an adapter_config.json states, each read with its place in the refusal."""

import re
from collections.abc import Mapping

from tunesmith.errors import AdapterError

CONFIG = "adapter_config.json"
REMEDY = f"Copy {CONFIG} again from where the adapter was made, or mend it there."


def number(config: Mapping[str, object], key: str, default: float) -> float:
    """The number of ``key``; raises AdapterError for what is none."""
    return _number(config.get(key, default), key)


def pattern(config: Mapping[str, object], key: str) -> dict[str, float]:
    """Numbers by a regular expression for names of layers; raises AdapterError for what is none."""
    found = config.get(key) or {}
    if not isinstance(found, Mapping):
        raise AdapterError(
            f"{CONFIG}: {key} is {found!r}, no object of names and numbers.", remedy=REMEDY
        )
    for name in found:
        try:
            re.compile(name)
        except re.error as error:
            raise AdapterError(
                f"{CONFIG}: {key} has {name!r}, which is no regular expression: {error}.",
                remedy=REMEDY,
            ) from None
    return {name: _number(value, f"{key} of {name!r}") for name, value in found.items()}


def of_layer(patterns: Mapping[str, float], module: str, default: float) -> float:
    """PEFT's rule: the first pattern that matches the end of the name as a regular expression."""
    for name, value in patterns.items():
        if re.match(rf"(.*\.)?({name})$", module):
            return value
    return default


def _number(value: object, key: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise AdapterError(f"{CONFIG}: {key} is {value!r}, not a number.", remedy=REMEDY)
    return value
