"""`tunesmith model`: which bases have a short name, and fetching one."""

from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.console import say
from tunesmith.cli.outcome import Outcome, command
from tunesmith.cli.quantities import bytes_text
from tunesmith.cli.tables import print_table

if TYPE_CHECKING:
    from rich.console import Console

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
    return Outcome({"models": rows}, show=lambda console: _show(models, console))


def _show(models: "list[ListedModel]", console: "Console") -> None:
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
    from tunesmith.models.cache import folder_bytes
    from tunesmith.models.resolve import resolve

    folder = resolve(name, emit=say)
    size = folder_bytes(folder)
    return Outcome(
        {"name": name, "folder": folder, "bytes": size},
        show=lambda console: console.print(
            f"{name} is in {folder} ({bytes_text(size)}).", soft_wrap=True
        ),
    )
