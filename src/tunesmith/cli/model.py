"""`tunesmith model` and `tunesmith methods`: the bases and methods to choose from."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.command import Outcome, command
from tunesmith.cli.console import print_facts, print_table, say
from tunesmith.core.numbers import bytes_text

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config.methods import MethodNote
    from tunesmith.models.catalog import ListedModel


app = typer.Typer(help="Base models: known short names, what is cached, fetching one.")


@app.command("list")
@command
def list_() -> Outcome:
    """Known short names, and which of them are cached."""
    from tunesmith.models.catalog import list_models

    models = list_models()
    rows = [
        {
            "name": model.name,
            "description": model.description,
            "licence": model.licence,
            "cached": model.cached,
            "folder": model.folder,
            "bytes": model.bytes,
        }
        for model in models
    ]
    return Outcome({"models": rows}, show=lambda console: _show_models(models, console))


def _show_models(models: "list[ListedModel]", console: "Console") -> None:
    rows = [
        (
            model.name,
            "yes" if model.cached else "no",
            bytes_text(model.bytes),
            model.licence,
            model.description,
        )
        for model in models
    ]
    titles = ("name", "cached", "size", "licence", "what it is")
    print_table(console, titles, rows=rows, numbers=("size",))
    for model in models:
        if not model.cached:
            console.print(f"\nFetch one: tunesmith model pull {model.name}")
            break
    console.print("\n--model also takes a folder, a .gguf file, or a hub id.")


@app.command("pull")
@command
def pull(
    name: Annotated[str, typer.Argument(help="Short name, .gguf file or hub id.")],
) -> Outcome:
    """Fetch a base into the cache, so that later commands need no network."""
    from tunesmith.core.progress import text_progress
    from tunesmith.models.cache import folder_bytes
    from tunesmith.models.resolve import resolve

    folder = resolve(name, progress=text_progress(say))
    size = folder_bytes(folder)
    return Outcome(
        {"name": name, "folder": folder, "bytes": size},
        show=lambda console: console.print(
            f"{name} is in {folder} ({bytes_text(size)}).", soft_wrap=True
        ),
    )


@command
def methods() -> Outcome:
    """The fine-tuning methods: what each trains, for, against, when to use it."""
    from tunesmith.config.methods import method_notes

    notes = method_notes()
    rows = [{"kind": kind, **asdict(note)} for kind, note in notes.items()]
    return Outcome({"methods": rows}, show=lambda console: _show_methods(notes, console))


def _show_methods(notes: "dict[str, MethodNote]", console: "Console") -> None:
    for kind, note in notes.items():
        console.print(f"{kind}: {note.name}", style="bold")
        facts = (
            ("trains", note.trains),
            ("for", note.strengths),
            ("against", note.weaknesses),
            ("use it when", note.use_when),
            ("measured", note.measured),
        )
        print_facts(console, facts)
        console.print()
    console.print("Measured: SmolLM2-135M, held-out rows, three seeds (English reviews: one).")
    console.print("docs/methods.md has the tables.")
    console.print("Choose one with --method KIND, or `method: {kind: KIND}` in the config.")
