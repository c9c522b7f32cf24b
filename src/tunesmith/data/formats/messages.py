"""One message of a row: {"role": ..., "content": ..., "weight": ...} read and type-checked."""

import math

from tunesmith.data.faults import Remark
from tunesmith.data.formats.layout import Parsed
from tunesmith.data.records import kind_of
from tunesmith.data.rows import Message

REFUSED_KEYS = ("tool_calls", "tool_call_id", "function_call")
KNOWN_KEYS = {"role", "content", "weight"}
SHAPE = 'Write it as {"role": "user", "content": "..."}.'


def parse_messages(values: object, parsed: Parsed, *, column: str) -> list[Message]:
    """The messages of a list; what is wrong with it goes into ``parsed``."""
    if not isinstance(values, list):
        parsed.problem(
            "wrong_type",
            f'"{column}" must be a list of messages, this is {kind_of(values)}.',
            remedy='Write it as [{"role": "user", "content": "..."}, ...].',
        )
        return []
    if not values:
        parsed.problem("empty", f'"{column}" is an empty list.', remedy="Remove the row.")
    found = (
        _message(value, parsed, place=f'message {number} of "{column}"')
        for number, value in enumerate(values, start=1)
    )
    return [message for message in found if message is not None]


def _message(value: object, parsed: Parsed, *, place: str) -> Message | None:
    if not isinstance(value, dict):
        what = f"{place} must be an object, this is {kind_of(value)}."
        parsed.problem("wrong_type", what, remedy=SHAPE)
        return None
    missing = [key for key in ("role", "content") if key not in value]
    if missing:
        names = " and ".join(f'"{key}"' for key in missing)
        what = f"{place} lacks {names} (found: {', '.join(value) or 'nothing'})."
        parsed.problem("missing_keys", what, remedy=SHAPE)
    refused = [key for key in REFUSED_KEYS if value.get(key) is not None]
    if refused:
        parsed.problem(
            "tools",
            f"{place} has {', '.join(refused)}, and tool use is not trained.",
            remedy="Remove the row, or write the call into the content as text.",
        )
    unused = [key for key in value if key not in KNOWN_KEYS and key not in REFUSED_KEYS]
    if unused:
        _remark_once(parsed, "unused_keys", f"keys of messages not used: {', '.join(unused)}")
    if missing or refused:
        return None
    role, content = value["role"], value["content"]
    for key in ("role", "content"):
        if not isinstance(value[key], str):
            what = f"the {key} of {place} must be text, this is {kind_of(value[key])}."
            parsed.problem("wrong_type", what, remedy=SHAPE)
    weight = _weight(value, parsed, place=place)
    if not isinstance(role, str) or not isinstance(content, str):
        return None
    return Message(role, content, weight)


def _weight(value: dict[str, object], parsed: Parsed, *, place: str) -> float:
    weight = value.get("weight")
    if weight is None:
        return 1.0
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight) or weight < 0:  # type: ignore[arg-type, operator]
        parsed.problem(
            "wrong_weight",
            f"the weight of {place} must be a number of at least 0 (given: {weight!r}).",
            remedy="Write 1 to train this answer, 0 to leave it out of the loss.",
        )
        return 1.0
    assert isinstance(weight, int | float)
    if value.get("role") != "assistant":
        if weight:
            what = "a weight counts on assistant messages only; elsewhere it has no effect"
            _remark_once(parsed, "weight_without_effect", what)
        return 1.0
    return float(weight)


def _remark_once(parsed: Parsed, code: str, message: str) -> None:
    remark = Remark(code, message)
    if remark not in parsed.remarks:
        parsed.remarks.append(remark)
