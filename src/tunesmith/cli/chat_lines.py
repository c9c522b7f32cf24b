"""A chat line by line: what each line asks for, and how the answers are written."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tunesmith.cli.console import harmless, say
from tunesmith.cli.interrupt import stop_on_signal
from tunesmith.cli.outcome import refuse
from tunesmith.counts import many
from tunesmith.errors import TunesmithError

if TYPE_CHECKING:
    from tunesmith.workflows.chat import Chat, Reply, Voice

HELP = """/reset         forget the conversation
/system TEXT   start anew with this system prompt; without TEXT: show it
/help          show this
/quit          end (also Ctrl-D); Ctrl-C stops an answer"""


class Conversation:
    """Reads lines from standard input and answers each; ``silent`` writes no answer."""

    def __init__(self, chat: "Chat", *, silent: bool, interactive: bool) -> None:
        self._chat = chat
        self._silent, self._interactive = silent, interactive
        self._replies: list[Reply] = []
        self._commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: say(HELP),
            "/reset": self._reset,
            "/system": self._system,
        }

    def run(self) -> "list[Reply]":
        """Every reply until the input ends; an error ends it too, unless someone can try again."""
        self._greet()
        for line in self._lines():
            words = line.strip()
            name, _, rest = words.partition(" ")
            if name == "/quit":
                break
            try:
                if name in self._commands:
                    self._commands[name](rest.strip())
                elif self._interactive and name[:1] == "/" and name[1:].isalpha():
                    say(f"There is no {name}.\n{HELP}")
                elif words:
                    self._answer(words)
            except TunesmithError as error:
                if not self._interactive:
                    raise
                refuse(error, as_json=False)
        return self._replies

    def _greet(self) -> None:
        if self._interactive:
            names = ", ".join(voice.name for voice in self._chat.voices)
            say(f"Talking to {names}. /help shows the commands, Ctrl-D ends.", style="dim")
        if self._chat.inserted and not self._chat.system:
            text = f"system prompt that the model's template inserts: {self._chat.inserted}"
            say(text, style="dim")

    def _lines(self) -> Iterator[str]:
        if not self._interactive:
            yield from sys.stdin
            return
        with contextlib.suppress(ImportError):  # line editing, where this Python has it
            import readline  # noqa: F401
        prompt = "> " if sys.stdout.isatty() else ""
        with contextlib.suppress(EOFError):
            while True:
                yield input(prompt)
        if prompt:
            print()

    def _answer(self, question: str) -> None:
        for voice in self._chat.voices:
            reply = self._reply(voice, question)
            self._replies.append(reply)
            if reply.cut:
                text = f"(cut at {many(reply.tokens, 'token')}; --max-new-tokens allows more)"
                say(text, style="dim")
            if reply.stopped:
                break

    def _reply(self, voice: "Voice", question: str) -> "Reply":
        if len(self._chat.voices) > 1:
            self._write(f"{voice.name}: ")
        # Without a terminal Ctrl-C ends the command, as anywhere else.
        asks = stop_on_signal("(stopped)") if self._interactive else contextlib.nullcontext(None)
        with asks as stop:
            reply = self._chat.reply(voice, question, say=self._write, stop=stop or (lambda: False))
        self._write("\n")
        return reply

    def _write(self, text: str) -> None:
        if not self._silent:
            sys.stdout.write(harmless(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()

    def _reset(self, _: str) -> None:
        self._chat.reset(self._chat.system)
        say("(the conversation starts anew)", style="dim")

    def _system(self, text: str) -> None:
        if text:
            self._chat.reset(text)
            say("(system prompt set; the conversation starts anew)", style="dim")
        else:
            say(f"system prompt: {self._chat.system or self._chat.inserted or 'none'}")
