"""`tunesmith plan`: memory and time of every method, on this machine and on others."""

from typing import Annotated

import typer

from tunesmith.api.show import Outcome
from tunesmith.cli.command import command, help_with_keys
from tunesmith.cli.train import run_keys
from tunesmith.core.errors import UsageError


@command
def plan(  # noqa: PLR0913  # flags
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|MODEL",
            help="A run's YAML file, or a base: short name, folder, config.json, hub id.",
        ),
    ],
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Other devices, separated by commas: rtx-4090-24gb, h100-80gb, m3-max; 24gb is "
            "any GPU of that size.",
        ),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Some methods, in place of all.")
    ] = None,
    document: Annotated[
        int | None,
        typer.Option(min=2, metavar="TOKENS", help="Tokens of the longest document."),
    ] = None,
    ranks: Annotated[
        int, typer.Option(min=1, metavar="N", help="Devices that share the work.")
    ] = 1,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="With --goal: run an instruction, examples and the candidates, and "
            "recommend by what is measured.",
        ),
    ] = False,
    minutes: Annotated[float, typer.Option(help="How long --probe takes, about.")] = 5.0,
    _: Annotated[bool, help_with_keys(run_keys)] = False,
) -> Outcome:
    """What every method takes in memory and time, and whether it fits; no weights are loaded.

    For a CONFIG its rows and settings count; any key of it can be given as a flag:
    --method.rank 8, --train.recompute layers. A base is planned for by its config alone.
    """
    from tunesmith.api.plan import plan as run
    from tunesmith.cli.keys import read_flags

    files, flags = read_flags(context.args, known=run_keys())
    if files:
        raise UsageError(f"One CONFIG or MODEL can be given, not also {', '.join(files)}.")
    if probe:
        given = {"--device": device, "--methods": methods, "--document": document}
        if idle := [name for name, value in {**given, "--ranks": ranks - 1}.items() if value]:
            raise UsageError(
                f"--probe measures on this machine, so that {', '.join(idle)} has no effect.",
                remedy="Leave one of them out.",
            )
        from tunesmith.api.recommend import recommend

        return recommend(target, probe_minutes=minutes, settings=flags, progress=True)
    return run(
        target,
        methods=methods,
        devices=device,
        document=document,
        ranks=ranks,
        settings=flags,
        progress=True,
    )
