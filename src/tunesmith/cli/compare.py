"""`tunesmith compare`: one data set through several methods or settings, and one table."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.console import messages
from tunesmith.cli.interrupt import stop_on_signal
from tunesmith.cli.keys_help import help_with_keys
from tunesmith.cli.outcome import INTERRUPTED, Outcome, command
from tunesmith.cli.train import read_words, run_keys
from tunesmith.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tunesmith.config.variants import Variant

STOPPING = "stopping after this step or these answers; again: at once (the last checkpoints stay)"


@command
def compare(
    context: typer.Context,
    methods: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Methods, each as its defaults are: lora,prompt,full."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V,V", help="A run for each value: method.rank=2,8,32. Can be repeated."
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Go on with the comparison in this folder.")
    ] = None,
    _: Annotated[bool, help_with_keys(run_keys)] = False,
) -> Outcome:
    """The same data through several methods: one table, and a run's folder for each.

    Adapters over one base train at the same time, their documents in one stream. CONFIG may list
    `methods: [{name, kind, ...}]`; its other keys, and flags, hold for every run.
    """
    if resume is not None and (context.args or methods or grid):
        raise UsageError(
            "--resume goes on with the runs as they were set up; it takes nothing else.",
            remedy=f"Write: tunesmith compare --resume {shlex.quote(str(resume))}",
        )
    variants, out = _variants(context.args, methods, grid or [])
    return _outcome(variants if resume is None else [], resume or out, is_new=resume is None)


def _variants(
    words: list[str], methods: str | None, grid: "Sequence[str]"
) -> "tuple[list[Variant], Path]":
    from tunesmith.config.variants import load_variants, read_grid, read_kinds
    from tunesmith.workflows.free_folder import free_folder

    if not words and methods is None:
        return [], Path()
    file, overrides = read_words(words, command="compare")
    kinds = [] if methods is None else read_kinds(methods)
    out = overrides.pop("out", None)
    variants = load_variants(file, overrides, methods=kinds, grid=read_grid(grid))
    given = out or variants[0].config.out
    return variants, Path(str(given)) if given else free_folder("comparison")


def _outcome(variants: "list[Variant]", out: Path, *, is_new: bool) -> Outcome:
    from tunesmith.cli.compare_display import CompareDisplay, show_comparison
    from tunesmith.workflows.compare import compare_runs, resume_comparison

    if is_new and not variants:
        raise UsageError(
            "Nothing to compare is named.",
            remedy="Write: tunesmith compare CONFIG --methods lora,prompt",
        )
    again = f"tunesmith compare --resume {shlex.quote(str(out))}"
    go_on = f"To go on: {again}"
    with CompareDisplay(messages()) as display, stop_on_signal(STOPPING) as stop:
        try:
            if is_new:
                found = compare_runs(variants, out, emit=display, stop=stop)
            else:
                found = resume_comparison(out, emit=display, stop=stop)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"Stopped at once. {go_on}") from None
    is_stopped = any(row.summary is None or row.summary.reason == "stopped" for row in found.rows)
    failed = [row for row in found.rows if row.error is not None]
    status = 1 if failed else INTERRUPTED if is_stopped else 0
    retry = f"What failed is tried again, once that is mended, by {again}"
    remedy = retry if failed else go_on if is_stopped else ""
    return Outcome(
        found.to_json(),
        show=lambda console: show_comparison(
            found, console, remedy=remedy, warnings=display.warnings
        ),
        exit_status=status,
    )
