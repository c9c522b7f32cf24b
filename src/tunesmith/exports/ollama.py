"""An Ollama Modelfile, its chat template converted from the tokenizer's.

Other programs have template languages of their own. A template that writes a turn the same way at
every position can be converted to any of them; conversations are compared byte by byte to check it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tunesmith.core import files
from tunesmith.core.errors import ModelError
from tunesmith.data.chat_text import TEMPLATE_ERRORS, chat_text, given
from tunesmith.data.rows import Message
from tunesmith.data.tokenizer import Tokenizer, decode
from tunesmith.exports.gguf_vocabulary import adds_first

SYSTEM, QUESTION, ANSWER, SECOND = "probe7system", "probe4question", "probe9answer", "probe2second"


@dataclass(frozen=True, slots=True)
class Around:
    """The text before and after a message."""

    before: str
    after: str


@dataclass(frozen=True, slots=True)
class TurnFormat:
    """How a conversation is rendered, up to the beginning of the next answer.

    ``opening`` begins a conversation without a system message, and holds the template's own default
    then. ``system`` is around a system message, the text's beginning included; None where the
    template takes none. ``inside``: a system message is inside the first user turn, after the
    beginning of that turn.
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
        written = self.system.before + first.content + self.system.after
        rest = self._turns(others)
        return written + (rest.removeprefix(self.user.before) if self.inside else rest) + self.ask

    def _turns(self, messages: Iterable[Message]) -> str:
        around = {"user": self.user, "assistant": self.assistant}
        return "".join(around[m.role].before + m.content + around[m.role].after for m in messages)


def turns_of(tokenizer: Tokenizer, *, without: str = "") -> TurnFormat:
    """The turns of a tokenizer's template; ModelError where it is not made of turns.

    ``without`` is a text that every rendering begins with; it is removed.
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
            "The chat template writes a message in more ways than by its role, which Ollama's "
            "language cannot express.",
            remedy="Serve the GGUF file with llama.cpp, which reads the template in it.",
        )
    return _shortened(found, without)


def _taken_apart(tokenizer: Tokenizer) -> TurnFormat:
    user, answer = Message("user", QUESTION), Message("assistant", ANSWER)
    second = Message("user", SECOND)
    asked = chat_text(tokenizer, given([user]), prompt=True)
    alone = chat_text(tokenizer, given([user]))
    start, _, after_user = alone.partition(QUESTION)
    talk = chat_text(tokenizer, given([user, answer, second]))
    done = chat_text(tokenizer, given([user, answer]))
    after_answer = done.partition(ANSWER)[2]
    between = talk.partition(QUESTION)[2].partition(ANSWER)[0]
    before_second = talk.partition(ANSWER)[2].partition(SECOND)[0]
    before_user = before_second.removeprefix(after_answer)
    system, inside = _system(tokenizer, user, before_user)
    return TurnFormat(
        opening=start.removesuffix(before_user),
        user=Around(before_user, after_user),
        assistant=Around(between.removeprefix(after_user), after_answer),
        ask=asked.removeprefix(alone),
        system=system,
        inside=inside,
    )


def _system(tokenizer: Tokenizer, user: Message, before_user: str) -> tuple[Around | None, bool]:
    """The text around a system message, and whether it is inside the user's turn."""
    try:
        text = chat_text(tokenizer, given([Message("system", SYSTEM), user]))
    except TEMPLATE_ERRORS:
        return None, False
    if SYSTEM not in text:
        return None, False
    before, _, after = text.partition(SYSTEM)
    between = after.partition(QUESTION)[0]
    inside = not between.endswith(before_user)
    return Around(before, between.removesuffix(before_user)), inside


def _conversations(turns: TurnFormat) -> list[list[Message]]:
    """Conversations that a template must render as its turns do."""
    words = {"user": "some words\nof another line", "assistant": "an answer", "system": "a rule"}
    roles = ["user", "assistant", "user", "assistant", "user"]
    some = [[Message(role, words[role]) for role in roles[:length]] for length in (1, 3, 5)]
    if turns.system is None:
        return some
    return some + [[Message("system", words["system"]), *messages] for messages in some]


def _shortened(turns: TurnFormat, without: str) -> TurnFormat:
    system = turns.system
    if system is not None:
        system = replace(system, before=system.before.removeprefix(without))
    return replace(turns, opening=turns.opening.removeprefix(without), system=system)


FILE = "Modelfile"
QUOTES = '"""'


def write_modelfile(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    stop_ids: frozenset[int],
    *,
    model: str,
    adapter: str = "",
    system: str = "",
) -> Path:
    """Write ``folder``/Modelfile, for `ollama create NAME -f Modelfile`.

    ``model`` is a GGUF file beside it or the name of one that Ollama has, ``adapter`` a GGUF file
    beside it. ``system`` is the system prompt of conversations without one; empty: the template's
    own. Raises ModelError for a template that Ollama's language cannot express.
    """
    # Ollama puts the first token in front of every prompt where the GGUF file says so.
    first = (tokenizer.bos_token or "") if adds_first(tokenizer) else ""
    template = go_template(turns_of(tokenizer, without=first))
    lines = [f"FROM {model}", *([f"ADAPTER {adapter}"] if adapter else [])]
    lines.append(f"TEMPLATE {QUOTES}{template}{QUOTES}")
    if system:
        lines.append(f"SYSTEM {_quoted(system, 'system prompt')}")
    ends = stops(tokenizer, stop_ids)
    lines += [f"PARAMETER stop {_quoted(end, 'text that ends an answer')}" for end in ends]
    path = folder / FILE
    files.write_text(path, "\n".join(lines) + "\n")
    return path


def stops(tokenizer: PreTrainedTokenizerBase, stop_ids: frozenset[int]) -> Sequence[str]:
    """The texts of the tokens that end an answer."""
    return [decode(tokenizer, [i]) for i in sorted(stop_ids)]


def go_template(turns: TurnFormat) -> str:
    """The turns in the language of Go's text/template, with the values that Ollama gives it."""
    user = _around(turns.user, "$m.Content")
    opening = _literal(turns.opening)
    head, branch = opening, ""
    if turns.system is not None:
        head = f"{{{{ if not .System }}}}{opening}{{{{ end }}}}" if opening else ""
        if turns.inside:
            user = _with_system(turns.user, turns.system)
        else:
            system = _around(turns.system, "$m.Content")
            branch = f'{{{{ else if eq $m.Role "system" }}}}{system}'
    assistant = _around(turns.assistant, "$m.Content")
    return (
        f'{head}{{{{ range $i, $m := .Messages }}}}{{{{ if eq $m.Role "user" }}}}{user}'
        f'{{{{ else if eq $m.Role "assistant" }}}}{assistant}{branch}{{{{ end }}}}{{{{ end }}}}'
        f"{_literal(turns.ask)}"
    )


def _with_system(user: Around, system: Around) -> str:
    """A user turn that holds the system message where it comes second, after that message."""
    held = _around(system, "$.System")
    begun = f"{{{{ if and $.System (eq $i 1) }}}}{held}{{{{ else }}}}{_literal(user.before)}"
    return f"{begun}{{{{ end }}}}{{{{ $m.Content }}}}{_literal(user.after)}"


def _around(around: Around, value: str) -> str:
    return f"{_literal(around.before)}{{{{ {value} }}}}{_literal(around.after)}"


def _literal(text: str) -> str:
    """Text in a template: braces, quotes and what Ollama would drop are escaped."""
    escaped = text.replace("{{", "\0").replace(QUOTES, "\1")
    if escaped.endswith("{"):  # it would meet the braces of what comes next
        escaped = f"{escaped[:-1]}\2"
    special = {"\0": '{{ "{{" }}', "\1": '{{ "\\"\\"\\"" }}', "\2": '{{ "{" }}'}
    shown = (special.get(letter) or _letter(letter) for letter in escaped)
    return "".join(shown)


def _letter(letter: str) -> str:
    # Ollama's reader drops letters that cannot be printed, except white space of these kinds.
    if letter.isprintable() or letter in "\n\t":
        return letter
    return f'{{{{ "\\U{ord(letter):08x}" }}}}'


def _quoted(text: str, what: str) -> str:
    """Text in a Modelfile outside the template; ModelError for what it cannot hold."""
    lost = sorted({c for c in text if not c.isprintable() and c not in "\n\t"})
    if QUOTES in text or lost:
        shown = ", ".join(f"U+{ord(c):04X}" for c in lost) or QUOTES
        raise ModelError(
            f"The {what} holds {shown}, which a Modelfile cannot hold.",
            remedy="Send it with each conversation instead." if what == "system prompt" else "",
        )
    return f"{QUOTES}{text}{QUOTES}"
