"""`tunesmith data`: whether a run would take a file, and its rows as the model will see them."""

from typing import Annotated

import typer

from tunesmith.cli.checked import document_of, fault_document, show_check
from tunesmith.cli.console import messages
from tunesmith.cli.curve import curve
from tunesmith.cli.data_show import KEYS as SHOWN
from tunesmith.cli.data_show import show
from tunesmith.cli.distill import distill
from tunesmith.cli.keys_help import CONTEXT, help_with_keys, keys_named
from tunesmith.cli.outcome import Outcome, command
from tunesmith.cli.split import split

app = typer.Typer(help="Check data, see it as the model will, split it, distil an instruction.")

LIMITS = ("data.too_long", "data.max_tokens", "data.drop")
METHOD = ("method.kind", "train.epochs", "train.seed", "train.threads", "dtype", "device")
RUN = (*SHOWN, "data.eval", *LIMITS, *METHOD)


File = Annotated[
    str,
    typer.Argument(
        metavar="FILE [FILE ...]",
        help="Rows: JSONL, JSON, CSV, Parquet, XLSX, text, a folder; several are trained together.",
    ),
]


@app.command("check", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)
@command
def check(
    context: typer.Context,
    file: File,
    _: Annotated[bool, help_with_keys(lambda: keys_named(*RUN))] = False,
) -> Outcome:
    """Every fault with its line and a remedy; exit status 1 if a run would refuse the data.

    Sizes, lengths and an estimate of the training time stand beside them, and notes on what would
    train badly: docs/data-quality.md. Tokens are kept, so that neither a second check nor the run
    makes them again.
    """
    from tunesmith.cli.keys import config_of_file
    from tunesmith.cli.run_display import RunDisplay
    from tunesmith.workflows.inspect_data import inspect_data

    config = config_of_file(file, context.args, known=keys_named(*RUN), several=True)
    with RunDisplay(messages()) as display:
        found = inspect_data(config, emit=display)
    train, *held = found
    faults = [fault for each in found for fault in each.faults.listed]
    document = document_of(train) | {"faults": [fault_document(fault) for fault in faults]}
    if held:
        document["eval"] = document_of(held[0])
    return Outcome(
        document,
        show=lambda console: show_check(found, console),
        exit_status=1 if faults else 0,
    )


app.command("show", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)(show)
app.command("split")(split)
app.command("distill")(distill)
app.command("curve", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)(curve)
