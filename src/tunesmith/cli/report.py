"""`tunesmith report RUN`: the page of a run or of a comparison."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.outcome import Outcome, command

if TYPE_CHECKING:
    from rich.console import Console


@command
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's or a comparison's folder.")],
    language: Annotated[
        str, typer.Option(metavar="LANGUAGE", help="Of the page: en or ko.")
    ] = "en",
) -> Outcome:
    """Did it work? One HTML file, report.html in the folder, that loads nothing from anywhere."""
    from tunesmith.workflows.report import write_report

    written = write_report(run, language=language)

    def show(console: "Console") -> None:
        console.print(f"{written}: open it in a browser.", soft_wrap=True)

    return Outcome({"report": str(written)}, show=show)
