"""A conversation: who said what, where it stood in a file, and which answers are trained."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Conversation:
    """A row of a data file; answers before ``completion_from`` are context, not targets."""

    messages: tuple[Message, ...]
    file: str
    line: int
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
