"""The forms of a row: a Record as it was read, a Conversation, an Example in text, a TokenRow.

Rows of tokens are packed into batches by the engine, the fifth form.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tunesmith.core.remote import is_remote
from tunesmith.data.faults import Fault, Note

TEXT = "text"  # the role of the one message of a text that is trained as it is


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that an assistant calls, with its arguments as a JSON object."""

    name: str
    arguments: Mapping[str, object]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; ``weight`` is its loss weight, for assistant turns only (0: not trained).

    ``thinking`` is what the assistant thinks before it speaks. The role `tool` holds the result of
    the call ``tool_call_id``, or of the last calls where it is None.
    """

    role: str
    content: str
    weight: float = 1.0
    name: str | None = None
    thinking: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


Tool = Mapping[str, object]  # {"type": "function", "function": {"name", "description", ...}}


def function_of(tool: Tool) -> Mapping[str, Any]:
    """What a tool says of its function."""
    function = tool.get("function")
    return function if isinstance(function, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A row of a data file; answers before ``completion_from`` are context, not targets."""

    messages: tuple[Message, ...]
    file: str = ""
    line: int = 0
    completion_from: int | None = None
    tools: tuple[Tool, ...] = ()

    @property
    def supervised(self) -> tuple[int, ...]:
        """Indices of the messages that are trained, in order."""
        first = self.completion_from or 0
        return tuple(
            i
            for i, message in enumerate(self.messages)
            if i >= first and message.role in ("assistant", TEXT) and message.weight > 0
        )

    @property
    def is_text(self) -> bool:
        """Whether it is no conversation but a text, which is trained as it is."""
        return self.completion_from == 0 and [m.role for m in self.messages] == [TEXT]


@dataclass(frozen=True, slots=True)
class Cut:
    """Text up to an answer (``prompt``) and to the end of its turn (``through``).

    ``closing`` control tokens of ``through`` come after the answer.
    """

    message: int
    prompt: str
    through: str
    closing: int


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation, or a part of it, as text, and a cut for each trained answer in it.

    ``whole``: it holds the whole conversation, not only what comes before its last answer.
    """

    full: str
    cuts: tuple[Cut, ...]
    whole: bool = True
    notes: tuple[Note, ...] = ()

    def texts(self) -> Iterator[str]:
        """Every text whose ids are needed."""
        yield self.full
        for cut in self.cuts:
            yield from (cut.prompt, cut.through)


@dataclass(frozen=True, slots=True, eq=False)
class TokenRow:
    """An example of T tokens.

    ``ids`` int32 [T]; ``weights`` float32 [T] is the loss weight of predicting that token: 0 where
    nothing is supervised, and always 0 for the first.
    """

    ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    file: str
    line: int


def texts_of(message: Message) -> Iterator[str]:
    """Every text of a message that a chat template is given."""
    yield message.content
    yield from filter(None, (message.thinking, message.name, message.tool_call_id))
    for call in message.tool_calls:
        yield from filter(None, (call.name, call.id))
        yield from texts_in(call.arguments)


def texts_in(value: object) -> Iterator[str]:
    """Every text in a JSON value, keys of objects included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)


HUB = "hf:"  # what the name of a data set of the hub begins with: hf:OWNER/NAME[:CONFIG]
MAX_ROW_BYTES = 16 << 20  # a row that is longer is a fault, so that memory stays bounded


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user may say of a file that does not say it itself.

    ``encoding`` of text; ``delimiter`` between columns; ``part``: which list of a JSON document,
    sheet of a workbook, member of an archive, split of a folder or hub data set. Without ``header``
    the first row of a table is a row, and columns are called by their place, counted from 0.
    """

    encoding: str = "auto"
    delimiter: str | None = None
    part: str | None = None
    header: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its ``values``, or the ``problem`` that kept it from being read.

    With ``notes`` alone it reports something about the file; with nothing it is a blank line
    between records. Line 0 means the whole file; where there are no lines (Parquet, a sheet)
    it is the row. ``file`` is set where it is not the path that was asked for, ``header`` to the
    line of the row that names the columns, where one does.
    """

    line: int
    values: dict[str, object] | None = None
    problem: Fault | None = None
    notes: tuple[Note, ...] = ()
    file: str | None = None
    header: int | None = None

    @property
    def is_blank(self) -> bool:
        """Whether it is a blank line."""
        return self.line > 0 and not self.is_row and not self.notes

    @property
    def is_row(self) -> bool:
        """Whether it is a row, sound or not."""
        return self.line > 0 and (self.values is not None or self.problem is not None)

    def fault(self, file: str) -> Fault | None:
        """The problem in its place, if there is one."""
        return self.problem.at(self.file or file, self.line or None) if self.problem else None


def kind_of(value: object) -> str:
    """What a user would call the value: text, a number, a list, ..."""
    names: dict[type, str] = {str: "text", bool: "true or false", dict: "an object", list: "a list"}
    names |= {int: "a number", float: "a number", type(None): "null", bytes: "bytes"}
    return names.get(type(value), type(value).__name__)


LINES_REMEDY = "Each line must be one complete JSON object."


class UniqueKeys:
    """Makes objects of a JSON text's pairs, and remembers the keys that one of them gives twice."""

    __slots__ = ("twice",)

    def __init__(self) -> None:
        self.twice: set[str] = set()

    def make(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        """The object; to be given to a JSON decoder as its `object_pairs_hook`."""
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            self.twice |= {name for name in values if names.count(name) > 1}
        return values

    def problem(self, remedy: str = LINES_REMEDY) -> Fault | None:
        """Which keys were given twice, and forget them."""
        if not self.twice:
            return None
        names, self.twice = self.twice, set()
        return given_twice(names, remedy)


def given_twice(names: Collection[str], remedy: str) -> Fault:
    """An object that has several values under one of these keys."""
    return broken_json(f"key given twice: {', '.join(sorted(names))}", remedy)


def broken_json(reason: str, remedy: str = LINES_REMEDY) -> Fault:
    """A text that is no JSON."""
    return Fault("broken_json", f"not valid JSON: {reason}.", remedy)


def row_of(value: object) -> dict[str, object] | Fault:
    """The row that a value is, or why it is none; the cells of a list are called by their place."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and len(value) > 1 and any(isinstance(cell, str) for cell in value):
        return {str(place): cell for place, cell in enumerate(value)}
    if isinstance(value, list) and value and all(isinstance(cell, dict) for cell in value):
        return not_an_object(value, 'Write it as {"messages": [...]}.')
    return not_an_object(value)


def not_an_object(
    value: object, remedy: str = 'Write each row as {"column": value, ...} on a line of its own.'
) -> Fault:
    """That a value is no row."""
    what = f"a row must be a JSON object, this is {kind_of(value)}."
    return Fault("not_an_object", what, remedy)


def is_of_a_list(row: Mapping[str, object]) -> bool:
    """Whether a row was a list: its columns are called 0, 1, and so on."""
    return bool(row) and all(name == str(place) for place, name in enumerate(row))


_CONVERSATION = TypeAdapter(Conversation)


def stored(conversation: Conversation) -> bytes:
    """All of a conversation."""
    return _CONVERSATION.dump_json(conversation)


def restored(data: bytes, *, source: str) -> Conversation:
    """The conversation that was stored, its file's name again with that of its source."""
    conversation = _CONVERSATION.validate_json(data)
    return replace(conversation, file=in_source(conversation.file, source))


def behind_source(file: str, source: str) -> str:
    """What a file's name has besides its source's: nothing, or its place in a folder."""
    return "" if file == source else file.removeprefix(_stem(source))


def in_source(file: str, source: str) -> str:
    """The whole name of a file of which ``behind_source`` left this."""
    return f"{_stem(source)}{file}" if file else source


def _stem(source: str) -> str:
    """What the names of a folder's files begin with."""
    return source.rstrip("/") if is_remote(source) else str(Path(source))
