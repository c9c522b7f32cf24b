"""The command `tunesmith`: which commands there are, and the exit status of each end."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tunesmith import __version__
from tunesmith.cli import adapters, data, rag, runs, setup
from tunesmith.cli.chat import chat
from tunesmith.cli.command import CONTEXT, refuse, say, words_given
from tunesmith.cli.compare import compare, search
from tunesmith.cli.plan import plan
from tunesmith.cli.runs import report, reproduce
from tunesmith.cli.serve import serve
from tunesmith.cli.setup import demo, doctor, init, methods
from tunesmith.cli.train import evaluate, train
from tunesmith.core.errors import UsageError, is_command_line
from tunesmith.core.language import LANGUAGES, speaking

app = typer.Typer(
    name="tunesmith",
    help="Fine-tune a language model's behaviour, and prove that it worked.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: half the time, and nothing in [brackets] is lost
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("demo")(demo)
app.command("doctor")(doctor)
app.command("methods")(methods)
app.command("init", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)(init)
app.add_typer(data.app, name="data")
app.command("plan", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)(plan)
app.command(
    "train", options_metavar="[CONFIG] [--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT
)(train)
app.command(
    "compare", options_metavar="[CONFIG] [--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT
)(compare)
app.command(
    "search", options_metavar="[CONFIG] [--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT
)(search)
app.command(
    "evaluate", options_metavar="TARGET [--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT
)(evaluate)
app.command("report")(report)
app.command("reproduce")(reproduce)
app.command("chat")(chat)
app.command("serve")(serve)
app.add_typer(adapters.app, name="adapters")
app.add_typer(rag.app, name="rag")
app.add_typer(runs.app, name="runs")
app.add_typer(setup.app, name="model")


CANCELLED = (130, 143)  # by Ctrl-C, by SIGTERM
# Flags that were renamed: the old names work in this version.
OLD_FLAGS = {
    "rag index": {"--again": "--retry-failed"},
    "rag dataset": {"--among": "--top-k", "--none": "--unanswerable"},
}


def _with_new_flags(words: list[str]) -> list[str]:
    """The command line with today's flags, and a warning for each old one."""
    renamed = OLD_FLAGS.get(" ".join(words[:2]), {})
    found = []
    for word in words:
        flag, equals, value = word.partition("=")
        new = renamed.get(flag, flag)
        if new != flag:
            say(f"warning: {flag} is now called {new}; the old name works in this version only.")
        found.append(f"{new}{equals}{value}")
    return found


LANGUAGE_FLAG = "--language"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tunesmith {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    _language: Annotated[  # for --help: `main` takes it out of any command line
        str | None,
        typer.Option(
            "--language",
            metavar="LANGUAGE",
            help=f"Of messages and pages: {' or '.join(LANGUAGES)}; the locale's unless "
            "given. Anywhere on a command line.",
        ),
    ] = None,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line, this process's unless given; the exit status comes back.

    A process that was cancelled ends here.
    """
    status = _status(words)
    if words is None and status in CANCELLED:
        end_process(status)
    return status


def end_process(status: int) -> None:
    """End at once: Python takes 1.3 s of computing to take torch down, while someone waits."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _status(words: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if words is None else words)
    tokens = is_command_line.set(True), words_given.set([w for w in given if w != "--json"])
    try:
        given, language = _without_language(given)
        with speaking(language):
            return _run(_with_new_flags(given))
    except UsageError as error:  # of --language itself
        refuse(error, as_json="--json" in given)
        return error.exit_status
    finally:
        is_command_line.reset(tokens[0])
        words_given.reset(tokens[1])


def _without_language(words: Sequence[str]) -> tuple[list[str], str | None]:
    """The command line without --language, and its value; raises UsageError where it has none."""
    rest, language = list(words), None
    for place, word in reversed(list(enumerate(words))):
        flag, equals, value = word.partition("=")
        if flag == LANGUAGE_FLAG:
            values = [value] if equals else list(words[place + 1 : place + 2])
            if not values or not values[0]:
                raise UsageError(f"{LANGUAGE_FLAG} takes a language, such as ko.")
            rest[place : place + 2 - bool(equals)] = []
            language = language or values[0]
    return rest, language


def _run(given: list[str]) -> int:
    try:
        status = app(args=given, prog_name="tunesmith", standalone_mode=False)
    except typer.Abort:
        return 130
    except Exception as error:
        message = _usage_message(error)
        if message is None:
            raise
        usage = _in_groups(error, given) or UsageError(message, remedy=_usage_remedy(error))
        refuse(usage, as_json="--json" in given)
        return usage.exit_status
    return status if isinstance(status, int) else 0


def _usage_message(error: Exception) -> str | None:
    """What typer says about a wrong command line; its errors share no public class.

    A value that pydantic refused for it is described in our words.
    """
    say = getattr(error, "format_message", None)
    if say is not None and (faults := getattr(error.__cause__, "errors", None)) is not None:
        from tunesmith.config.settings import reason

        error.message = reason(faults()[0])  # type: ignore[attr-defined]  # of typer's errors
    return str(say()).strip() or "A command is missing." if say is not None else None


def _in_groups(error: Exception, given: Sequence[str]) -> UsageError | None:
    """That a command which is none is one of a group: `tunesmith adapters export`."""
    context = getattr(error, "ctx", None)
    if context is None or context.parent is not None:
        return None
    known = getattr(context.command, "commands", {})
    name = next((word for word in given if not word.startswith("-")), "")
    if name in known:
        return None
    groups = [group for group, each in known.items() if name in getattr(each, "commands", {})]
    if not groups:
        return None
    found = ", ".join(f"`tunesmith {group} {name}`" for group in groups)
    return UsageError(f"No such command '{name}'.", remedy=f"Did you mean {found}?")


def _usage_remedy(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "tunesmith"
    return f"`{path} --help` shows what can be given."


if __name__ == "__main__":
    sys.exit(main())
