"""`tunesmith runs` and `tunesmith report`: the history of runs, one of them, its page."""

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.api.show import Outcome
from tunesmith.cli.command import command


@command
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's or a comparison's folder.")],
    language: Annotated[
        str, typer.Option(metavar="LANGUAGE", help="Of the page: en or ko.")
    ] = "en",
) -> Outcome:
    """Did it work? One HTML file, report.html in the folder, that loads nothing from anywhere."""
    from tunesmith.api.runs import write_report

    return write_report(run, language=language)


app = typer.Typer(help="The history of runs.")

Root = Annotated[
    Path,
    typer.Option(metavar="FOLDER", readable=False, help="The folder that holds the runs."),
]


@app.command("list")
@command
def list_(root: Root = Path("runs")) -> Outcome:
    """Every run below a folder: how far it came, and its losses."""
    from tunesmith.api.runs import list_runs

    return list_runs(root)


@app.command("show")
@command
def show(
    run: Annotated[str, typer.Argument(help="A run's folder, or its name below --root.")],
    root: Root = Path("runs"),
) -> Outcome:
    """One run: its config, state, losses, and the commands that come next."""
    from tunesmith.api.runs import show_run

    return show_run(run, root=root)
