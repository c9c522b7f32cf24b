"""A chat template taken apart: what stands before and behind the messages of each role.

Other programs have template languages of their own. A template whose turns are the same wherever
they stand can be said in any of them; whether it is such a one is tried out, byte by byte.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunesmith.data.chat_text import TEMPLATE_ERRORS, chat_text, given
from tunesmith.data.rows import Message
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.errors import ModelError

SYSTEM, QUESTION, ANSWER, SECOND = "probe7system", "probe4question", "probe9answer", "probe2second"


@dataclass(frozen=True, slots=True)
class Around:
    """The text before and behind a message."""

    before: str
    behind: str


@dataclass(frozen=True, slots=True)
class Turns:
    """How a conversation is written out, the next answer opened at its end.

    ``opening`` stands in front of one without a system message, and holds what the template says
    by itself then. ``system`` is around a system message, the text's beginning included; None where
    the template takes none. ``inside``: a system message stands inside the first user turn, behind
    the beginning of that turn.
    """

    opening: str
    user: Around
    assistant: Around
    ask: str
    system: Around | None = None
    inside: bool = False

    def text(self, messages: Sequence[Message]) -> str:
        """The conversation as these turns write it."""
        if messages[0].role != "system" or self.system is None:
            return self.opening + self._turns(messages) + self.ask
        first, *others = messages
        written = self.system.before + first.content + self.system.behind
        rest = self._turns(others)
        return written + (rest.removeprefix(self.user.before) if self.inside else rest) + self.ask

    def _turns(self, messages: Iterable[Message]) -> str:
        around = {"user": self.user, "assistant": self.assistant}
        return "".join(around[m.role].before + m.content + around[m.role].behind for m in messages)


def turns_of(tokenizer: Tokenizer, *, without: str = "") -> Turns:
    """The turns of a tokenizer's template; ModelError where it is not made of turns.

    ``without`` is a text that every rendering begins with and that is left out.
    """
    try:
        found = _taken_apart(tokenizer)
        wrong = [
            messages
            for messages in _conversations(found)
            if found.text(messages) != chat_text(tokenizer, given(messages), prompt=True)
        ]
    except TEMPLATE_ERRORS:
        wrong = [[]]
    if wrong:
        raise ModelError(
            "The chat template writes a message in more ways than by its role, which cannot be "
            "said in Ollama's language.",
            remedy="Serve the GGUF file with llama.cpp, which reads the template in it.",
        )
    return _shortened(found, without)


def _taken_apart(tokenizer: Tokenizer) -> Turns:
    user, answer, second = (
        Message("user", QUESTION),
        Message("assistant", ANSWER),
        Message("user", SECOND),
    )
    asked = chat_text(tokenizer, given([user]), prompt=True)
    alone = chat_text(tokenizer, given([user]))
    start, behind_user = _around(alone, QUESTION)
    talk = chat_text(tokenizer, given([user, answer, second]))
    done = chat_text(tokenizer, given([user, answer]))
    behind_answer = _around(done, ANSWER)[1]
    between = _around(talk, QUESTION)[1].partition(ANSWER)[0]
    before_second = _around(talk, ANSWER)[1].partition(SECOND)[0]
    before_user = before_second.removeprefix(behind_answer)
    system, inside = _system(tokenizer, user, before_user)
    return Turns(
        opening=start.removesuffix(before_user),
        user=Around(before_user, behind_user),
        assistant=Around(between.removeprefix(behind_user), behind_answer),
        ask=asked.removeprefix(alone),
        system=system,
        inside=inside,
    )


def _system(tokenizer: Tokenizer, user: Message, before_user: str) -> tuple[Around | None, bool]:
    """What stands around a system message, and whether it is inside the user's turn."""
    try:
        text = chat_text(tokenizer, given([Message("system", SYSTEM), user]))
    except TEMPLATE_ERRORS:
        return None, False
    if SYSTEM not in text:
        return None, False
    before, behind = _around(text, SYSTEM)
    between = behind.partition(QUESTION)[0]
    inside = not between.endswith(before_user)
    return Around(before, between.removesuffix(before_user)), inside


def _around(text: str, message: str) -> tuple[str, str]:
    before, _, behind = text.partition(message)
    return before, behind


def _conversations(turns: Turns) -> list[list[Message]]:
    """Conversations that a template must write as its turns say."""
    words = {"user": "some words\nof another line", "assistant": "an answer", "system": "a rule"}
    roles = ["user", "assistant", "user", "assistant", "user"]
    some = [[Message(role, words[role]) for role in roles[:length]] for length in (1, 3, 5)]
    if turns.system is None:
        return some
    return some + [[Message("system", words["system"]), *messages] for messages in some]


def _shortened(turns: Turns, without: str) -> Turns:
    system = turns.system
    if system is not None:
        system = Around(system.before.removeprefix(without), system.behind)
    opening = turns.opening.removeprefix(without)
    return Turns(opening, turns.user, turns.assistant, turns.ask, system, turns.inside)
