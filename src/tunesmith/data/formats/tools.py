"""Tools and calls of a row, as OpenAI and Hugging Face write them, read and type-checked."""

import json
import math
from collections.abc import Mapping

from tunesmith.data.formats.layout import Parsed, Row
from tunesmith.data.records import kind_of
from tunesmith.data.rows import Tool, ToolCall

TOOL_COLUMNS = ("tools", "functions")  # functions: OpenAI's older name, without a wrapper
MOST_DEPTH = 64
TOOL_SHAPE = (
    'Write a tool as {"type": "function", "function": {"name": "...", "parameters": {...}}}.'
)
CALL_SHAPE = 'Write a call as {"id": "...", "type": "function", "function": {"name": "...", '
CALL_SHAPE += '"arguments": {...}}}.'


def parse_tools(row: Row, parsed: Parsed) -> tuple[Tool, ...]:
    """The tools that a row offers; what is wrong with them goes into ``parsed``."""
    tools: list[Tool] = []
    for column in TOOL_COLUMNS:
        value = _from_text(row.get(column))
        if not value:
            continue
        if not isinstance(value, list):
            what = f'"{column}" must be a list of tools, this is {kind_of(value)}.'
            parsed.problem("wrong_type", what, remedy=TOOL_SHAPE)
            continue
        for number, item in enumerate(value, start=1):
            tool = _tool(item, parsed, place=f'tool {number} of "{column}"')
            tools += [] if tool is None else [tool]
    return tuple(tools)


def _tool(value: object, parsed: Parsed, *, place: str) -> Tool | None:
    function = value.get("function", value) if isinstance(value, dict) else value
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        what = f"{place} is no object with the name of a function."
        parsed.problem("wrong_type", what, remedy=TOOL_SHAPE)
        return None
    if _is_unfit(function, parsed, place=place):
        return None
    wrapper = value if isinstance(value, dict) and "function" in value else {}
    return {"type": "function", **wrapper, "function": function}


def parse_calls(message: Mapping[str, object], parsed: Parsed, *, place: str) -> list[ToolCall]:
    """The calls of a message; what is wrong with them goes into ``parsed``."""
    value = _from_text(message.get("tool_calls")) or []
    if not isinstance(value, list):
        what = f"the tool_calls of {place} must be a list, this is {kind_of(value)}."
        parsed.problem("wrong_type", what, remedy=CALL_SHAPE)
        return []
    older = message.get("function_call")
    values = [*value, *([] if older is None else [older])]
    calls = (
        _call(item, parsed, place=f"call {number} of {place}")
        for number, item in enumerate(values, start=1)
    )
    return [call for call in calls if call is not None]


def _call(value: object, parsed: Parsed, *, place: str) -> ToolCall | None:
    function = value.get("function", value) if isinstance(value, dict) else value
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        what = f"{place} is no object with the name of a function."
        parsed.problem("wrong_type", what, remedy=CALL_SHAPE)
        return None
    arguments = _from_text(function.get("arguments") or {})
    if not isinstance(arguments, dict):
        what = f"the arguments of {place} must be a JSON object, these are {kind_of(arguments)}."
        parsed.problem("wrong_arguments", what, remedy=CALL_SHAPE)
        return None
    if _is_unfit(arguments, parsed, place=f"the arguments of {place}"):
        return None
    given = value.get("id") if isinstance(value, dict) else None
    return ToolCall(function["name"], arguments, given if isinstance(given, str) else None)


def _from_text(value: object) -> object:
    """JSON that stands in a text, as it does in OpenAI's arguments; other values as they are."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError):
        return value


def _is_unfit(value: object, parsed: Parsed, *, place: str) -> bool:
    """Whether a value is nested deeper than templates can write, or holds what JSON has no word
    for, with the problem noted.
    """
    level = [value]
    for _ in range(MOST_DEPTH):
        if odd := [each for each in level if isinstance(each, float) and not math.isfinite(each)]:
            what = f"{place} must be JSON, which has no number {odd[0]}."
            parsed.problem("wrong_type", what, remedy="Write a finite number, a text or null.")
            return True
        level = [
            item
            for each in level
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return False
    what = f"{place} is nested more than {MOST_DEPTH} levels deep."
    parsed.problem("wrong_type", what, remedy="Write it flatter, or remove the row.")
    return True
