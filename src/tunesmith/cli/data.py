"""`tunesmith data`: whether a run would take a file, and its rows as the model will see them."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.checked import document_of, fault_document, show_check
from tunesmith.cli.console import harmless, say
from tunesmith.cli.distill import distill
from tunesmith.cli.keys_help import CONTEXT, help_with_keys
from tunesmith.cli.outcome import Outcome, command
from tunesmith.cli.split import split
from tunesmith.counts import many
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.cli.keys import Key
    from tunesmith.workflows.inspect_data import ShownRow

app = typer.Typer(help="Check data, see it as the model will, split it, distil an instruction.")

ROWS = ("data.format", "data.map", "model", "trust_remote_code")
LIMITS = ("data.too_long", "data.max_tokens", "data.drop")
RUN = (*ROWS, "data.eval", *LIMITS, "method.kind", "train.epochs", "train.seed", "dtype", "device")


def _keys(*names: str) -> "Mapping[str, Key]":
    from tunesmith.cli.keys import config_keys

    return {name: key for name, key in config_keys().items() if name in names}


File = Annotated[str, typer.Argument(metavar="FILE", help="A JSONL file of rows.")]


@app.command("check", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)
@command
def check(
    context: typer.Context,
    file: File,
    _: Annotated[bool, help_with_keys(lambda: _keys(*RUN))] = False,
) -> Outcome:
    """Every fault with its line and a remedy; exit status 1 if a run would refuse the data.

    Sizes, lengths and an estimate of the training time stand beside them, and notes on what would
    train badly: docs/data-quality.md.
    """
    from tunesmith.cli.keys import config_of_file
    from tunesmith.workflows.inspect_data import inspect_data

    config = config_of_file(file, context.args, known=_keys(*RUN))
    train, *held = inspect_data(config, emit=say)
    faults = [fault for each in (train, *held) for fault in each.faults]
    document = document_of(train) | {"faults": [fault_document(fault) for fault in faults]}
    if held:
        document["eval"] = document_of(held[0])
    return Outcome(
        document,
        show=lambda console: show_check([train, *held], faults, console),
        exit_status=1 if faults else 0,
    )


@app.command("show", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)
@command
def show(
    context: typer.Context,
    file: File,
    rows: Annotated[int, typer.Option("-n", min=1, metavar="ROWS", help="How many rows.")] = 3,
    _: Annotated[bool, help_with_keys(lambda: _keys(*ROWS))] = False,
) -> Outcome:
    """Rows as the model will see them: the chat template applied, supervised text in colour."""
    from tunesmith.cli.keys import config_of_file
    from tunesmith.workflows.inspect_data import shown_rows

    config = config_of_file(file, context.args, known=_keys(*ROWS))
    shown, faults = shown_rows(config, most=rows, emit=say)
    if not shown:
        raise DataError(
            f"{file}: no row can be shown ({many(len(faults), 'fault')}).",
            remedy=f"They are listed by: tunesmith data check {shlex.quote(file)}",
        )
    if faults:
        say(f"note: {many(len(faults), 'fault')}; `data check` lists them.", style="yellow")
    document = {
        "rows": [
            {"line": row.line, "text": row.text, "spans": row.spans, "tokens": row.tokens}
            for row in shown
        ]
    }
    return Outcome(document, show=lambda console: _show_rows(shown, console))


def _show_rows(rows: "Sequence[ShownRow]", console: "Console") -> None:
    for row in rows:
        console.print(f"{row.file}:{row.line} ({many(row.tokens, 'token')})", style="bold")
        for piece, supervised in row.pieces:
            # Without colours brackets show what colour would.
            plain = console.color_system is None and supervised
            marked = f"⟦{piece}⟧" if plain else piece
            style = "green" if supervised else "dim"
            console.print(harmless(marked), style=style, soft_wrap=True, end="")
        console.print()
    mark = "green" if console.color_system is not None else "⟦in brackets⟧"
    say(f"What is trained is {mark}; the rest is only read.", style="dim")


app.command("split")(split)
app.command("distill")(distill)
