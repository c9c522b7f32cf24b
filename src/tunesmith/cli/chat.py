"""`tunesmith chat`: talk to a model or a run in the terminal, or answer lines from a pipe."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.api.show import Outcome, sanitize
from tunesmith.api.work import cancelling
from tunesmith.cli.command import LONGEST_ANSWER, AsJson, command, refuse, say
from tunesmith.core.errors import TunesmithError, UsageError
from tunesmith.core.numbers import pluralize

if TYPE_CHECKING:
    from tunesmith.api.load import Dialogue, Reply


HELP = """/reset         forget the conversation
/system TEXT   start again with this system prompt; without TEXT: show it
/help          show this
/quit          end (also Ctrl-D); Ctrl-C stops an answer"""


class ChatPrompt:
    """Reads lines from standard input and answers each; ``silent`` writes no answer."""

    def __init__(self, chat: "Dialogue", *, silent: bool, interactive: bool) -> None:
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
                    say(f"There is no command {name}.\n{HELP}")
                elif words:
                    self._answer(words)
            except TunesmithError as error:
                if not self._interactive:
                    raise
                refuse(error, as_json=False)
        return self._replies

    def _greet(self) -> None:
        if self._interactive:
            names = ", ".join(self._chat.participants)
            say(f"Talking to {names}. /help shows the commands, Ctrl-D ends.", style="dim")
        if self._chat.system:
            say(f"system prompt: {self._chat.system}", style="dim")
        elif self._chat.inserted_system:
            text = f"system prompt that the model's template inserts: {self._chat.inserted_system}"
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
        for name in self._chat.participants:
            reply = self._reply(name, question)
            self._replies.append(reply)
            if reply.cut:
                text = f"(cut at {pluralize(reply.tokens, 'token')}; --max-new-tokens allows more)"
                say(text, style="dim")
            if reply.stopped:
                break

    def _reply(self, name: str, question: str) -> "Reply":
        if len(self._chat.participants) > 1:
            self._write(f"{name}: ")
        # Without a terminal Ctrl-C ends the command, as anywhere else.
        with cancelling("(stopped)" if self._interactive else "") as stop:
            reply = self._chat.reply(question, participant=name, on_text=self._write, stop=stop)
        self._write("\n")
        return reply

    def _write(self, text: str) -> None:
        if not self._silent:
            sys.stdout.write(sanitize(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()

    def _reset(self, _: str) -> None:
        self._chat.reset(self._chat.system)
        say("(the conversation starts again)", style="dim")

    def _system(self, text: str) -> None:
        if text:
            self._chat.reset(text)
            say("(system prompt set; the conversation starts again)", style="dim")
        else:
            say(f"system prompt: {self._chat.system or self._chat.inserted_system or 'none'}")


def _options(text: str | None) -> dict[str, str]:
    """`a=b,c=d` by name."""
    pairs = [part.partition("=") for part in text.split(",")] if text else []
    if odd := next((name for name, equals, _ in pairs if not equals or not name.strip()), None):
        raise UsageError(
            f"`{odd}` is no variable with a value.",
            remedy="Write --template-options NAME=VALUE, as in enable_thinking=false.",
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


@command
def chat(  # noqa: PLR0913  # one parameter for each flag
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL-OR-RUN",
            show_default=False,
            help="A run's folder, an adapter's, or a base.",
        ),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A",
            help="One more that answers too: an adapter's or a run's folder, or `base` for the "
            "model without one. Can be repeated.",
        ),
    ] = None,
    system: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="System prompt; unless given, the one that the run was trained under "
            "(data.system). '': none of ours.",
        ),
    ] = None,
    template_options: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Variables of the chat template, such as enable_thinking=false; unless given, "
            "those that the run was trained with (data.template_options).",
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0: always the likeliest token, as by default.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option("--top-p", min=0, max=1, help="Draw from the likeliest tokens of this share."),
    ] = None,
    max_new_tokens: Annotated[int | None, LONGEST_ANSWER] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws, where there are any.")] = 0,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Take a base that an adapter knows under another name, and an adapter whose files "
            "were changed.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> Outcome:
    """Talk to a model or a run. Several adapters answer one after another.

    In a terminal: /help shows the commands. From a pipe: each line is a message of one
    conversation, and the answers go to standard output.
    """
    from tunesmith.api.load import Transcript
    from tunesmith.api.load import chat as start

    talk = start(
        target,
        adapters=adapter or (),
        system=system,
        template_options=_options(template_options),
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
        seed=seed,
        force=force,
        on_text=lambda model: say(f"loading {model} ...", style="dim"),
    )
    for note in talk.notes:
        say(f"warning: {note}.", style="yellow")
    return Transcript(ChatPrompt(talk, silent=as_json, interactive=sys.stdin.isatty()).run())
