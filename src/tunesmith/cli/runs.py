"""`tunesmith runs` and `tunesmith report`: the history of runs, one of them, its page."""

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli.command import Root, calls


@calls("write_report")
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's or a comparison's folder.")],
) -> None:
    """Did it work? One HTML file, report.html in the folder, that loads nothing from anywhere.

    --language ko makes a Korean page.
    """


app = typer.Typer(help="The history of runs.")


@app.command("list")
@calls("list_runs")
def list_(root: Root = Path("runs")) -> None:
    """Every run below a folder: how far it came, and its losses."""


@app.command("show")
@calls("show_run")
def show(
    run: Annotated[str, typer.Argument(help="A run's folder, or its name below --root.")],
    root: Root = Path("runs"),
) -> None:
    """One run: its config, state, losses, and the commands that come next."""
