"""`tunesmith runs` and `tunesmith report`: the history of runs, everything about one, its page."""

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.command import Outcome, command
from tunesmith.cli.console import harmless, print_table
from tunesmith.cli.results import show_evaluation
from tunesmith.core.numbers import many

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.runs.history import RunRecord


_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], *, width: int = 50) -> str:
    """At most ``width`` blocks, each the mean of its share of ``values``; NaN and the like are `×`.

    The lowest value is the lowest block, the highest the highest.
    """
    count = min(width, len(values))
    cuts = [round(i * len(values) / count) for i in range(count + 1)] if count else [0]
    means = [
        math.fsum(part) / len(part)
        for start, stop in pairwise(cuts)
        if (part := values[start:stop])
    ]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_block(mean, low, high) for mean in means)


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "×"
    share = (value - low) / (high - low) if high > low else 0.0
    return _BLOCKS[round(share * (len(_BLOCKS) - 1))]


@command
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's or a comparison's folder.")],
    language: Annotated[
        str, typer.Option(metavar="LANGUAGE", help="Of the page: en or ko.")
    ] = "en",
) -> Outcome:
    """Did it work? One HTML file, report.html in the folder, that loads nothing from anywhere."""
    from tunesmith.report.writing import write_report

    written = write_report(run, language=language)

    def show(console: "Console") -> None:
        console.print(f"{written}: open it in a browser.", soft_wrap=True)

    return Outcome({"report": str(written)}, show=show)


app = typer.Typer(help="The history of runs.")

Root = Annotated[
    Path,
    typer.Option(metavar="FOLDER", readable=False, help="The folder that holds the runs."),
]
_STATE_STYLES = {
    "running": "cyan",
    "done": "green",
    "early": "green",
    "stopped": "yellow",
    "failed": "red",
    "interrupted": "yellow",
}


@app.command("list")
@command
def list_(root: Root = Path("runs")) -> Outcome:
    """Every run below a folder: how far it came, and its losses."""
    from tunesmith.runs.history import list_runs

    records = list_runs(root)
    document = {"runs": [record.to_json() for record in records]}
    return Outcome(document, show=lambda console: _show_list(records, root, console))


def _show_list(records: "list[RunRecord]", root: Path, console: "Console") -> None:
    if not records:
        console.print(f"No runs in {root}. `tunesmith demo` or `tunesmith train` makes one.")
        return
    titles = ("run", "state", "method", "model", "steps", "loss", "held-out")
    print_table(console, titles, rows=map(_row, records), numbers=titles[4:])


def _row(record: "RunRecord") -> tuple[str, ...]:
    facts = record.to_json()
    planned = f"/{record.planned:,}" if record.planned else ""
    return (
        record.folder.name,
        record.state,
        str(facts["method"] or "?"),
        str(facts["model"] or "?"),
        f"{record.steps:,}{planned}",
        _loss(facts["train_loss"]),
        _loss(facts["eval_loss"]),
    )


@app.command("show")
@command
def show(
    run: Annotated[str, typer.Argument(help="A run's folder, or its name below --root.")],
    root: Root = Path("runs"),
) -> Outcome:
    """One run: its config, state, losses, and the commands that come next."""
    from tunesmith.runs.history import find_run

    record = find_run(run, root)
    document = {
        **record.to_json(),
        "config": record.config,
        "losses": record.losses,
        "held_out": record.held_out,
        "next": record.next_commands(),
    }
    return Outcome(document, show=lambda console: _show_run(record, console))


def _show_run(record: "RunRecord", console: "Console") -> None:
    of = f"{record.steps:,} of " if record.planned else ""
    steps = of + many(record.planned or record.steps, "step")
    state = f"{record.state} after {steps}, {many(record.tokens, 'token')}"
    console.print(str(record.folder), style="bold", soft_wrap=True)
    console.print(state, style=_STATE_STYLES.get(record.state, ""))
    if record.losses:
        _show_series("training loss", list(record.losses), console)
    if record.held_out:
        _show_series("held-out loss", [loss for _, loss in record.held_out], console)
    evaluation = record.to_json()["evaluation"]
    if isinstance(evaluation, dict):
        show_evaluation(evaluation, console)
    for fact, values in (("result", [record.adapter]), ("checkpoints", record.checkpoints)):
        console.print(f"{fact}: {', '.join(str(v) for v in values if v) or 'none'}", soft_wrap=True)
    for message in (*record.notices, *record.faults):
        console.print(harmless(f"note: {message}"), style="yellow", soft_wrap=True)
    console.print("\nConfig", style="bold")
    import yaml

    text = yaml.safe_dump(dict(record.config), sort_keys=False, allow_unicode=True)
    console.print(harmless(text), soft_wrap=True)
    if record.next_commands():
        console.print("Next", style="bold")
    for line in record.next_commands():
        console.print(f"  {line}", soft_wrap=True)


def _show_series(name: str, values: list[float], console: "Console") -> None:
    numbers = f"{values[0]:.3f} -> {values[-1]:.3f}"
    lowest = f", lowest {min(values):.3f}" if min(values) < values[-1] else ""
    console.print(f"{name}: {sparkline(values)} {numbers}{lowest}", soft_wrap=True)


def _loss(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""
