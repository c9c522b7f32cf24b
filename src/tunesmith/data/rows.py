"""A conversation: who said what, where it stood in a file, and which answers are trained."""

from dataclasses import dataclass

TEXT = "text"  # the role of the one message of a text that is trained as it is


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
            if i >= first and message.role in ("assistant", TEXT) and message.weight > 0
        )

    @property
    def is_text(self) -> bool:
        """Whether it is no conversation but a text, which is trained as it is."""
        return self.completion_from == 0 and [m.role for m in self.messages] == [TEXT]
