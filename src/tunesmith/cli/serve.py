"""`tunesmith serve`: a base and its adapters over HTTP, until Ctrl-C."""

from pathlib import Path
from typing import Annotated

import typer

import tunesmith
from tunesmith.api.show import Outcome
from tunesmith.cli.command import command, say
from tunesmith.core.errors import UsageError
from tunesmith.core.progress import cancel_on_signal


def adapters_of(given: list[str]) -> dict[str, str] | list[str]:
    """`NAME=PATH` by name, or paths alone; UsageError for some of each."""
    named = [text.partition("=") for text in given]
    if not any(equals for _, equals, _ in named):
        return given
    if odd := [name for name, equals, path in named if not (equals and name and path)]:
        raise UsageError(f"--adapter {odd[0]}: name all adapters, or none: NAME=PATH.")
    by_name = {name: path for name, _, path in named}
    if len(by_name) < len(named):
        raise UsageError("Two of --adapter have the same name.")
    return by_name


@command
def serve(  # noqa: PLR0913  # one parameter for each flag
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL-OR-RUN",
            show_default=False,
            help="A base, or a run with its adapter; unless given, the first adapter's base.",
        ),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="An adapter's or a run's folder. Can be repeated."),
    ] = None,
    adapters: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Any adapter or run in it can be asked for by its folder's name, and is loaded "
            "then.",
        ),
    ] = None,
    rag: Annotated[
        str | None,
        typer.Option(
            "--rag", metavar="STORE", help="Documents: MODEL+rag answers from them, and cites them."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Others than 127.0.0.1 need API keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8000,
    api_keys: Annotated[
        Path | None,
        typer.Option(
            "--api-keys",
            metavar="FILE",
            help="Lines NAME:SHA256; keys can also be in TUNESMITH_API_KEYS.",
        ),
    ] = None,
    cache_gb: Annotated[
        float | None,
        typer.Option(
            "--cache-gb",
            show_default=False,
            help="Keys and values may take so many GB; unless given, 0.5, or a quarter of the "
            "base where that is more, on a GPU half of what is free.",
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Answers that are made at once.")] = 64,
    waiting: Annotated[int, typer.Option(min=1, help="Requests that may wait.")] = 256,
    per_client: Annotated[
        int | None,
        typer.Option("--per-client", min=1, help="Requests of one API key at once."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Longest time of a request, in seconds; 0: any.")
    ] = 600.0,
    force: Annotated[
        bool,
        typer.Option("--force", help="Take adapters that know the base under another name."),
    ] = False,
) -> Outcome:
    """Serve a base and its adapters to OpenAI's clients, until Ctrl-C.

    The model's name in a request chooses the adapter.
    """
    with cancel_on_signal("stopping"):
        say(f"loading {model or 'the base'} ...", style="dim")
        server = tunesmith.serve(
            model,
            adapters=adapters_of(adapter or []),
            adapter_folder=adapters,
            rag=rag,
            host=host,
            port=port,
            api_keys=api_keys,
            limits={
                "cache_gb": cache_gb,
                "rows": rows,
                "waiting": waiting,
                "per_client": per_client,
                "request_seconds": timeout or None,
            },
            force=force,
        )
        with server:
            for note in server.notes:
                say(f"note: {note}")
            say(f"Serving {', '.join(server.models)} at {server.url}/v1; Ctrl-C stops it.")
            server.wait()
    return server
