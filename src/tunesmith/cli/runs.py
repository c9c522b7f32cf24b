"""`tunesmith runs`, `report` and `reproduce`: the history, one run, its page, and the same anew."""

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


@calls("reproduce")
def reproduce(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            readable=False,
            show_default=False,
            help="The repeat's folder; RUN-again unless given.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Do not train: report what differs already.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(metavar="FILE", show_default=False, help="Where the rows lie now."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="Where the base lies now."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default=False,
            help="Processor threads; those of the run unless given.",
        ),
    ] = None,
) -> None:
    """Does a run come out the same? Train it anew with the same data, versions and seed.

    0: the same bytes. 3: others; what differs is named: data, a version, threads, the processor.
    The run's folder stays as it is.
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
