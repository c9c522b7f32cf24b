"""`tunesmith demo`, `doctor`, `init`, `methods` and `model`: the commands of the first hour."""

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.api.show import Outcome
from tunesmith.cli.command import FILE_KEYS, calls, command, help_with_keys, keys_named, say

INTRODUCTION = """\
This fetches a small model once, teaches it with LoRA to answer the users of a smart speaker in
JSON, and asks it questions that it was not trained on, before and after."""


@command
def demo(
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", readable=False, help="Where the run and its adapter go."),
    ] = Path("runs/demo"),
) -> Outcome:
    """A tour: fetch the default model, fine-tune it, show that it changed. Some minutes."""
    say(INTRODUCTION)
    from tunesmith.api.setup import demo as run

    return run(out, progress=True)


@calls("doctor")
def doctor() -> None:
    """Processor, memory, GPU, cache and versions: one page for a bug report."""


INIT_KEYS = (*FILE_KEYS, "data.system", "data.drop")


@command
def init(
    context: typer.Context,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="The training rows: a file of any kind, a folder.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", readable=False, help="Where the config goes.")
    ] = Path("tunesmith.yaml"),
    _: Annotated[bool, help_with_keys(lambda: keys_named(*INIT_KEYS))] = False,
) -> Outcome:
    """Write a commented config for DATA: its format, and checks that its answers suggest.

    --system TEXT is short for --data.system. Without one a system prompt is proposed, where the
    answers show a name or a language; it is a comment in the file, for you to edit.
    """
    from tunesmith.api.setup import init as run
    from tunesmith.cli.keys import read_file_words

    source, flags = read_file_words(data, context.args, known=keys_named(*INIT_KEYS))
    draft = run(source, out, words=[data, *context.args], settings=flags)
    for text in draft.notes:
        say(text, style="yellow")
    return draft


app = typer.Typer(help="Base models: known short names, what is cached, fetching one.")


@app.command("list")
@calls("list_models")
def list_(
    families: Annotated[
        bool, typer.Option("--families", help="The model families that run, instead.")
    ] = False,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="What a family lacks, instead: a base, or transformers' name of the family; "
            "tried on a tiny model.",
        ),
    ] = None,
) -> None:
    """Known short names, and which of them are cached."""


@app.command("pull")
@calls("pull")
def pull(
    name: Annotated[str, typer.Argument(help="Short name, .gguf file or hub id.")],
) -> None:
    """Fetch a base into the cache, so that later commands need no network."""


@calls("list_methods")
def methods() -> None:
    """The fine-tuning methods: what each trains, for, against, when to use it."""
