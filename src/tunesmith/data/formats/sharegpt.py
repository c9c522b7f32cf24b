"""ShareGPT rows: {"conversations": [{"from": "human", "value": "..."}, ...]}, or pairs of
{"human": "...", "assistant": "..."}.
"""

import json
from collections.abc import Iterator

from tunesmith.data.formats.cells import as_list, optional_text
from tunesmith.data.formats.layout import Format, Parsed, Row
from tunesmith.data.formats.messages import parse_messages
from tunesmith.data.formats.tools import TOOL_COLUMNS, parse_tools
from tunesmith.data.rows import Message

ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant"}
ROLES |= {"bard": "assistant", "observation": "tool", "function_response": "tool"}
CALL = "function_call"
PAIR = ("human", "assistant")


def parse(row: Row) -> Parsed:
    """The turns as messages; a system prompt may stand in a column of its own."""
    parsed = Parsed()
    turns = as_list(row["conversations"])
    if isinstance(turns, list):
        turns = [message for turn in turns for message in as_messages(turn)]
    system = optional_text(row, "system", parsed)
    parsed.messages = parse_messages(turns, parsed, column="conversations")
    if system:
        parsed.messages.insert(0, Message("system", system))
    parsed.tools = parse_tools(row, parsed)
    return parsed


def as_messages(turn: object) -> Iterator[object]:
    """A turn as the messages it stands for, as OpenAI writes them; what is none stays as it is."""
    if not isinstance(turn, dict):
        yield turn
    elif "from" in turn and "value" in turn:
        rest = {name: value for name, value in turn.items() if name not in ("from", "value")}
        yield {**_message(turn["from"], turn["value"]), **rest}
    elif "role" not in turn and all(name in turn for name in PAIR):
        if turn.get("system"):
            yield {"role": "system", "content": turn["system"]}
        yield {"role": "user", "content": turn["human"]}
        yield {"role": "assistant", "content": turn["assistant"]}
    else:
        yield turn


def _message(speaker: object, said: object) -> dict[str, object]:
    if speaker != CALL:
        role = ROLES.get(speaker, speaker) if isinstance(speaker, str) else speaker
        return {"role": role, "content": said}
    return {"role": "assistant", "content": "", "tool_calls": _calls(said)}


def _calls(said: object) -> object:
    """The calls in the text of a turn: one JSON object, or a list of them."""
    if not isinstance(said, str):
        return said
    try:
        value = json.loads(said)
    except (ValueError, RecursionError):
        return said
    return [
        {"type": "function", "function": call}
        for call in (value if isinstance(value, list) else [value])
    ]


SHAREGPT = Format(
    name="sharegpt",
    columns={"conversations": ("dialog", "dialogue", "turns", "items")},
    parse=parse,
    example='{"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", ...}]}',
    optional=("system", *TOOL_COLUMNS),
    synonyms={"conversation": "conversations"},
)
