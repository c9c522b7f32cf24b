"""`tunesmith data curve`: would more data help?"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.console import harmless, messages
from tunesmith.cli.interrupt import stop_on_signal
from tunesmith.cli.keys_help import help_with_keys
from tunesmith.cli.outcome import INTERRUPTED, Outcome, command
from tunesmith.cli.train import read_words, run_keys
from tunesmith.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.workflows.learning_curve import LearningCurve

STOPPING = "stopping after this step or these answers; again: at once (the last checkpoints stay)"
TITLES = ("training rows", "held-out loss", "score")


@command
def curve(
    context: typer.Context,
    shares: Annotated[
        str, typer.Option(metavar="S,S", help="Shares of the training rows, a run for each.")
    ] = "0.125,0.25,0.5,1",
    resume: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Go on with the curve in this folder.")
    ] = None,
    _: Annotated[bool, help_with_keys(run_keys)] = False,
) -> Outcome:
    """Would more data help? Adapters on growing shares of the rows train together and are compared.

    Smaller shares are parts of larger ones; all runs take the same steps and see the same held-out
    rows.
    """
    from tunesmith.cli.compare_display import CompareDisplay
    from tunesmith.config import load_run_config
    from tunesmith.workflows.free_folder import free_folder
    from tunesmith.workflows.learning_curve import learning_curve, resume_curve

    if resume is not None and context.args:
        raise UsageError(
            "--resume goes on with the curve as it was set up; it takes nothing else.",
            remedy=f"Write: tunesmith data curve --resume {shlex.quote(str(resume))}",
        )
    numbers = _shares(shares)
    config = None if resume else load_run_config(*read_words(context.args, command="data curve"))
    out = resume or Path((config and config.out) or free_folder("curve"))
    go_on = f"To go on: tunesmith data curve --resume {shlex.quote(str(out))}"
    with CompareDisplay(messages()) as display, stop_on_signal(STOPPING) as stop:
        try:
            if config is None:
                found = resume_curve(out, emit=display, stop=stop)
            else:
                found = learning_curve(config, out, emit=display, stop=stop, shares=numbers)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"Stopped at once. {go_on}") from None
    return Outcome(
        found.to_json(),
        show=lambda console: _show(found, console, go_on=go_on),
        exit_status=INTERRUPTED if found.verdict is None else 0,
    )


def _shares(text: str) -> list[float]:
    """Two or more different shares above 0 and at most 1."""
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if (
        len(set(shares)) < 2
        or len(set(shares)) < len(shares)
        or not all(0 < s <= 1 for s in shares)
    ):
        raise UsageError(
            f"--shares {text}: two or more different shares above 0 and at most 1 are compared.",
            remedy="Write: --shares 0.25,0.5,1",
        )
    return shares


def _show(found: "LearningCurve", console: "Console", *, go_on: str) -> None:
    from tunesmith.cli.compare_display import interval_text
    from tunesmith.cli.tables import print_table

    if found.verdict is None:
        console.print(harmless(go_on))
        return
    points = found.to_json()["points"]
    assert isinstance(points, list)
    rows = [(f"{p['rows']:,}", f"{p['loss']:.4f}", interval_text(p)) for p in points]
    print_table(console, TITLES, rows=rows, numbers=TITLES)
    console.print(harmless(found.verdict.text), style="bold")
