"""How a chat template writes calls of tools, learned by rendering one call and two."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.data.chat_format import (
    ASKING,
    CALL,
    CITY,
    PLACE,
    TOOL,
    ToolFormat,
    rendered,
)
from tunesmith.data.chat_text import CLOSE, OPEN, given
from tunesmith.data.rows import Message, Tool, ToolCall
from tunesmith.data.tokenizer import Tokenizer

OTHER = ToolCall("probeother8d", {PLACE: CITY}, id="probenext")
ID_LENGTH = 9
_IDS = re.compile(f"{CALL.id}|{OTHER.id}")


@dataclass(frozen=True, slots=True)
class CallFormat:
    """What an answer that is calls consists of, between names and their arguments as JSON.

    ``opening`` NAME ``middle`` ARGUMENTS, for each further call ``between`` NAME ``middle``
    ARGUMENTS, then ``closing``. ``between`` is None where a template writes one call only. Each is
    split at the ids of calls: between two of its texts there are ``ID_LENGTH`` letters and digits.
    """

    opening: tuple[str, ...]
    middle: tuple[str, ...]
    between: tuple[str, ...] | None
    closing: tuple[str, ...]

    def read(self, text: str) -> list[ToolCall]:
        """The calls of a text that begins in this form, up to where it leaves it."""
        decoder, calls, parts = json.JSONDecoder(), list[ToolCall](), self.opening
        name = re.compile(r"(.*?)" + _pattern(self.middle), re.DOTALL)
        place = 0
        while (before := re.compile(_pattern(parts)).match(text, place)) and (
            named := name.match(text, before.end())
        ):
            try:
                arguments, place = decoder.raw_decode(text, named.end())
            except (ValueError, RecursionError):
                break
            calls.append(ToolCall(named[1], arguments))
            if self.between is None:
                break
            parts = self.between
        return calls


def _pattern(parts: Sequence[str]) -> str:
    return f"[a-zA-Z0-9]{{{ID_LENGTH}}}".join(map(re.escape, parts))


def study_calls(tokenizer: Tokenizer, tools: ToolFormat) -> CallFormat | None:
    """Learn the form; None where calls are left out, or their arguments are no JSON."""
    if not (tools.takes_tools and tools.takes_calls):
        return None
    offered: tuple[Tool, ...] = (TOOL,)
    asked = rendered(tokenizer, given([ASKING], offered), prompt=True)

    def said(*calls: ToolCall) -> str | None:
        answer = Message("assistant", "", tool_calls=calls)
        chat = given([ASKING, answer], offered, dialect=tools.dialect)
        text = rendered(tokenizer, chat)
        return None if text is None or asked is None else _after(asked, text)

    one, two = said(CALL), said(CALL, OTHER)
    parts = None if one is None else _parts(one, CALL)
    if parts is None:
        return None
    opening, middle, closing = parts
    return CallFormat(
        _split(opening), _split(middle), _between(two, opening, middle, closing), _split(closing)
    )


def _after(asked: str, text: str) -> str | None:
    """What an answer adds to its prompt; None where it changes the prompt.

    A prompt that opens the answer's thinking is answered without any.
    """
    if text.startswith(asked):
        return text[len(asked) :]
    before = asked.rstrip().removesuffix(OPEN)
    if before == asked.rstrip() or not text.startswith(before):
        return None
    return f"\n{CLOSE}\n\n{text[len(before) :]}"


def _parts(said: str, call: ToolCall) -> tuple[str, str, str] | None:
    """What is before a call's name, between it and the arguments, and after these."""
    before, found, rest = said.partition(call.name)
    decoder = json.JSONDecoder()
    for match in re.finditer(r"\{", rest if found else ""):
        try:
            value, end = decoder.raw_decode(rest, match.start())
        except ValueError:
            continue
        if value == dict(call.arguments) and call.name not in rest:
            return before, rest[: match.start()], rest[end:]
    return None


def _between(two: str | None, opening: str, middle: str, closing: str) -> tuple[str, ...] | None:
    """What is between two calls; None where both are not written, or in another form."""
    first, found, rest = (two or "").partition(OTHER.name)
    before, after = _parts(first, CALL), _parts(found + rest, OTHER)
    if before is None or after is None:
        return None
    is_same = before[:2] == (opening, middle) and after[1] == middle
    same_end = _split(after[2]) == _split(closing)
    return _split(before[2]) if is_same and same_end else None


def _split(text: str) -> tuple[str, ...]:
    return tuple(_IDS.split(text))
