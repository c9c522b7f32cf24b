"""`tunesmith compare`, `search` and `data curve`: several runs beside each other."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.api.show import Outcome
from tunesmith.cli.command import command, help_with_keys, numbers_of
from tunesmith.cli.gate import gated
from tunesmith.cli.train import first_speaks, read_words, run_keys


@command
@gated
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
        Path | None, typer.Option(metavar="OUT", help="Resume the comparison in this folder.")
    ] = None,
    _: Annotated[bool, help_with_keys(run_keys)] = False,
    *,
    require_verdict: bool = False,
) -> Outcome:
    """The same data through several methods: one table, and a run's folder for each.

    Adapters over one base train at the same time, their documents in one stream. CONFIG may list
    `methods: [{name, kind, ...}]`; its other keys, and flags, hold for every run, as --require
    does.
    """
    from tunesmith.api.compare import compare as run
    from tunesmith.api.compare import read_grid, read_kinds

    file, flags = read_words(context.args, command="compare")
    with first_speaks():
        return run(
            methods=[] if methods is None else read_kinds(methods),
            grid=read_grid(grid or []),
            resume=resume,
            require_verdict=require_verdict,
            config=file,
            settings=flags,
            progress=True,
        )


@command
def curve(
    context: typer.Context,
    shares: Annotated[
        str | None,
        typer.Option(
            metavar="S,S",
            help="Shares of the training rows, a run for each; 0.125,0.25,0.5,1 if left out.",
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Resume the curve in this folder.")
    ] = None,
    _: Annotated[bool, help_with_keys(run_keys)] = False,
) -> Outcome:
    """Would more data help? Adapters on growing shares of the rows train together and are compared.

    Smaller shares are parts of larger ones; all runs take the same steps and see the same held-out
    rows.
    """
    from tunesmith.api.curve import curve as run

    file, flags = read_words(context.args, command="data curve")
    return run(
        shares=None if shares is None else numbers_of("shares", float, shares),
        resume=resume,
        config=file,
        settings=flags,
        progress=True,
    )


@command
@gated
def search(
    context: typer.Context,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="About how long, the evaluation of the best one included; 30 if left out."
        ),
    ] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=LOW..HIGH or KEY=V,V",
            help="What is varied: train.lr=1e-4..1e-2, method.rank=4,8,16. Can be repeated; "
            "without it the rate and what the method offers.",
        ),
    ] = None,
    settings: Annotated[
        int | None, typer.Option(metavar="N", help="Settings at most; by default those that fit.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Resume the search in this folder.")
    ] = None,
    _: Annotated[bool, help_with_keys(run_keys)] = False,
) -> Outcome:
    """The best settings within a time: adapters train together, and the worse half stops early.

    A part of the held-out rows chooses the best (--data.validation 0.5), the others score it. The
    result is OUT/best.yaml, a config with its evidence, and the run of it.
    """
    from tunesmith.api.search import read_over
    from tunesmith.api.search import search as run

    file, flags = read_words(context.args, command="search")
    run = run if minutes is None else partial(run, minutes=minutes)
    return run(
        over=read_over(over or []) or None,
        at_most=settings,
        resume=resume,
        config=file,
        settings=flags,
        progress=True,
    )
