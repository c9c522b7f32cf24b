"""A conversation: who said what, where it stood in a file, and which answers are trained."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; ``weight`` is its loss weight, for assistant turns only (0: not trained)."""

    role: str
    content: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Conversation:
    """A row of a data file; answers before ``completion_from`` are context, not targets."""

    messages: tuple[Message, ...]
    file: str
    line: int
    completion_from: int | None = None

    @property
    def supervised(self) -> tuple[int, ...]:
        """Indices of the messages that are trained, in order."""
        first = self.completion_from or 0
        return tuple(
            i
            for i, message in enumerate(self.messages)
            if i >= first and message.role == "assistant" and message.weight > 0
        )
