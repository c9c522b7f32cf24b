"""`tunesmith chat`: talk to a model or a run in the terminal, or answer lines from a pipe."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.chat_lines import Conversation
from tunesmith.cli.console import say
from tunesmith.cli.outcome import AsJson, Outcome, command
from tunesmith.errors import UsageError

if TYPE_CHECKING:
    from tunesmith.generate.sampling import Sampling


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
            help="One more that answers beside: an adapter's or a run's folder, or `base` for the "
            "model without one. Can be repeated.",
        ),
    ] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="System prompt.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="0: always the likeliest token, as by default.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option("--top-p", min=0, max=1, help="Draw from the likeliest tokens of this share."),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Longest answer, in tokens.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws, where there are any.")] = 0,
    force: Annotated[
        bool,
        typer.Option("--force", help="Take a base that an adapter knows under another name."),
    ] = False,
    as_json: AsJson = False,
) -> Outcome:
    """Talk to a model or a run. Several adapters answer one after another.

    In a terminal: /help shows the commands. From a pipe: each line is a message of one
    conversation, and the answers go to standard output.
    """
    from tunesmith.workflows.locate import locate

    found = locate(target, adapter or [])
    # What is heavy is imported behind what can refuse at once.
    from tunesmith.workflows.chat import open_chat

    sampling = _sampling(temperature, top_p=top_p, max_new_tokens=max_new_tokens)
    for note in found.notes:
        say(f"warning: {note}.", style="yellow")
    say(f"loading {found.model} ...", style="dim")
    opened = open_chat(found, sampling=sampling, seed=seed, system=system, force=force)
    for note in opened.notes:
        say(f"warning: {note}.", style="yellow")
    answers = Conversation(opened, silent=as_json, interactive=sys.stdin.isatty()).run()
    document = {
        "answers": [reply.text for reply in answers],
        "replies": [asdict(reply) for reply in answers],
    }
    return Outcome(document, show=lambda _: None)


def _sampling(
    temperature: float | None, *, top_p: float | None, max_new_tokens: int | None
) -> "Sampling":
    """The sampling asked for; what was not given keeps its default."""
    from tunesmith.generate.sampling import Sampling

    default = Sampling()
    try:
        return Sampling(
            temperature=default.temperature if temperature is None else temperature,
            top_p=default.top_p if top_p is None else top_p,
            max_new_tokens=default.max_new_tokens if max_new_tokens is None else max_new_tokens,
        )
    except ValueError as error:
        raise UsageError(f"{error}.") from None
