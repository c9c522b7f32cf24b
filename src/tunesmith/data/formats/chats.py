"""Rows that are lists of messages: OpenAI chats, and ShareGPT or {"human": ..., "assistant": ...}.

A system prompt may be in a column of its own, `system`, as in Anthropic's rows.
"""

import math
from collections.abc import Iterator, Mapping

from tunesmith.data.faults import RowNotes
from tunesmith.data.formats.layout import (
    TOOL_COLUMNS,
    Format,
    Row,
    as_list,
    from_text,
    optional_text,
    parse_calls,
)
from tunesmith.data.rows import Conversation, Message, kind_of

CALLS = ("tool_calls", "function_call")
THINKING = ("thinking", "reasoning_content", "reasoning")
OTHER_NAMES = {"developer": "system", "function": "tool"}  # OpenAI's, of one meaning with ours
# Names that others use, which are reported.
SYNONYMS = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
SYNONYMS |= {"ai": "assistant", "model": "assistant", "ipython": "tool", "observation": "tool"}
KNOWN_KEYS = {"role", "content", "weight", "train", "name", "tool_call_id", *CALLS, *THINKING}


def parse_messages(values: object, notes: RowNotes, *, column: str) -> list[Message]:
    """The messages of a list; what is wrong with it goes into ``notes``."""
    if not isinstance(values, list):
        what = f"{notes.called(column)} must be a list of messages, this is {kind_of(values)}."
        remedy = 'Write it as [{"role": "user", "content": "..."}, ...].'
        notes.problem("wrong_type", what, remedy=remedy)
        return []
    if not values:
        notes.problem(
            "empty", f"{notes.called(column)} is an empty list.", remedy="Remove the row."
        )
    found = (
        _message(value, notes, place=f"message {number} of {notes.called(column)}")
        for number, value in enumerate(values, start=1)
    )
    return [message for message in found if message is not None]


def _message(value: object, notes: RowNotes, *, place: str) -> Message | None:
    if not isinstance(value, dict):
        what = f"{place} must be an object, this is {kind_of(value)}."
        notes.problem("wrong_type", what, remedy=_shape({}))
        return None
    calling = any(value.get(key) for key in CALLS)
    missing = [key for key in ("role", "content") if key not in value]
    missing = [key for key in missing if key != "content" or not calling]
    if missing:
        names = " and ".join(f'"{key}"' for key in missing)
        what = f"{place} lacks {names} (found: {', '.join(value) or 'nothing'})."
        notes.problem("missing_keys", what, remedy=_shape(value))
    unused = [key for key in value if key not in KNOWN_KEYS]
    if unused:
        notes.note("unused_keys", f"keys of messages not used: {', '.join(unused)}")
    if missing:
        return None
    role = _role(value, notes, place=place)
    content = "" if calling and value.get("content") is None else _content(value, notes, place)
    weight = _weight(value, role, notes, place=place)
    calls = parse_calls(value, notes, place=place)
    optional = {
        key: _text(value, key, notes, place=place)
        for key in ("name", "tool_call_id", *THINKING)
        if value.get(key) is not None
    }
    if role is None or content is None or None in optional.values():
        return None
    if calls and role != "assistant":
        what = f"{place} is by the {role} and has tool calls, which are an assistant's."
        notes.problem("wrong_role", what, remedy="Make it an assistant message.")
    thinking = [optional[key] for key in THINKING if optional.get(key)]
    return Message(
        role,
        content,
        weight,
        name=optional.get("name"),
        thinking=thinking[0] if thinking else None,
        tool_calls=tuple(calls),
        tool_call_id=optional.get("tool_call_id"),
    )


def _shape(value: Mapping[str, object]) -> str:
    """How such a message is written, by whom it is."""
    role = value.get("role")
    shown = f'"{role}"' if isinstance(role, str) and role else '"user" or "assistant"'
    return f'Write it as {{"role": {shown}, "content": "..."}}.'


def _role(value: Mapping[str, object], notes: RowNotes, *, place: str) -> str | None:
    """Who speaks, by our names; any other name is reported."""
    given = _text(value, "role", notes, place=place)
    if given in SYNONYMS:
        what = f"the role `{given}` is read as `{SYNONYMS[given]}`"
        notes.note("role_names", what)
        return SYNONYMS[given]
    return None if given is None else OTHER_NAMES.get(given, given)


def _text(value: Mapping[str, object], key: str, notes: RowNotes, *, place: str) -> str | None:
    text = value[key]
    if isinstance(text, str):
        return text
    what = f"the {key} of {place} must be text, this is {kind_of(text)}."
    notes.problem("wrong_type", what, remedy=_shape(value if key != "role" else {}))
    return None


def _content(value: Mapping[str, object], notes: RowNotes, place: str) -> str | None:
    """A text, or the texts of its parts one after the other."""
    parts = value["content"]
    if not isinstance(parts, list):
        return _text(value, "content", notes, place=place)
    texts = []
    for number, part in enumerate(parts, start=1):
        text = part.get("text") if isinstance(part, dict) else None
        if isinstance(text, str):
            texts.append(text)
            continue
        kind = part.get("type") if isinstance(part, dict) else None
        shown = f" ({kind})" if isinstance(kind, str) else ""
        what = f"part {number} of the content of {place} is no text{shown}."
        remedy = 'Only text is trained: write parts as {"type": "text", "text": "..."}.'
        notes.problem("not_text", what, remedy=remedy)
    return "".join(texts) if len(texts) == len(parts) else None


def _weight(value: Mapping[str, object], role: str | None, notes: RowNotes, *, place: str) -> float:
    train = value.get("train", True)  # axolotl's way to say it
    if not isinstance(train, bool | None):
        what = f'"train" of {place} must be true or false (given: {train!r:.80}).'
        remedy = "Write false to leave this answer out of the loss."
        notes.problem("wrong_weight", what, remedy=remedy)
    weight = value.get("weight") if train is not False else 0
    if weight is None:
        return 1.0
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight) or weight < 0:  # type: ignore[arg-type, operator]
        what = f"the weight of {place} must be a number of at least 0 (given: {weight!r})."
        remedy = "Write 1 to train this answer, 0 to leave it out of the loss."
        notes.problem("wrong_weight", what, remedy=remedy)
        return 1.0
    assert isinstance(weight, int | float)
    if role != "assistant":
        if weight:
            what = "a weight counts on assistant messages only; elsewhere it has no effect"
            notes.note("weight_without_effect", what)
        return 1.0
    return float(weight)


def parse_turns(row: Row, notes: RowNotes, *, column: str, turns: object) -> Conversation:
    """The ``turns`` of a column as messages, behind a system prompt in a column of its own."""
    system = optional_text(row, "system", notes)
    messages = parse_messages(turns, notes, column=column)
    return Conversation((*([Message("system", system)] if system else []), *messages))


def parse_chat(row: Row, notes: RowNotes) -> Conversation:
    """Every assistant turn is a target, unless its weight is 0."""
    return parse_turns(row, notes, column="messages", turns=row["messages"])


CHAT = Format(
    name="chat",
    columns={"messages": ("conversations", "conversation", "dialog", "dialogue", "chat")},
    parse=parse_chat,
    optional=("system", *TOOL_COLUMNS),
)


ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant"}
ROLES |= {"bard": "assistant", "observation": "tool", "function_response": "tool"}
CALL = "function_call"
PAIR = ("human", "assistant")


def parse_sharegpt(row: Row, notes: RowNotes) -> Conversation:
    """The turns as OpenAI's messages; they may be JSON in a text."""
    turns = as_list(row["conversations"])
    if isinstance(turns, list):
        turns = [message for turn in turns for message in as_messages(turn)]
    return parse_turns(row, notes, column="conversations", turns=turns)


def as_messages(turn: object) -> Iterator[object]:
    """A turn as messages in OpenAI's layout; a value that is no turn stays as it is."""
    if not isinstance(turn, dict):
        yield turn
    elif "from" in turn and "value" in turn:
        rest = {name: value for name, value in turn.items() if name not in ("from", "value")}
        yield {**_as_openai(turn["from"], turn["value"]), **rest}
    elif "role" not in turn and all(name in turn for name in PAIR):
        if turn.get("system"):
            yield {"role": "system", "content": turn["system"]}
        yield {"role": "user", "content": turn["human"]}
        yield {"role": "assistant", "content": turn["assistant"]}
    else:
        yield turn


def _as_openai(speaker: object, said: object) -> dict[str, object]:
    if speaker != CALL:
        role = ROLES.get(speaker, speaker) if isinstance(speaker, str) else speaker
        return {"role": role, "content": said}
    return {"role": "assistant", "content": "", "tool_calls": _calls(said)}


def _calls(said: object) -> object:
    """The calls in the text of a turn: one JSON object, or a list of them."""
    value = from_text(said)
    if value is said:
        return said
    calls = value if isinstance(value, list) else [value]
    return [{"type": "function", "function": call} for call in calls]


SHAREGPT = Format(
    name="sharegpt",
    columns={"conversations": ("dialog", "dialogue", "turns", "items")},
    parse=parse_sharegpt,
    optional=("system", *TOOL_COLUMNS),
    synonyms={"conversation": "conversations"},
)
