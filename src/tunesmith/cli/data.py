"""`tunesmith data`: whether a run would take a file, and its rows as the model will see them."""

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.console import harmless, say
from tunesmith.cli.curve import curve
from tunesmith.cli.distill import distill
from tunesmith.cli.keys_help import CONTEXT, help_with_keys
from tunesmith.cli.outcome import Outcome, command
from tunesmith.counts import many
from tunesmith.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.cli.keys import Key
    from tunesmith.data.faults import Fault
    from tunesmith.workflows.inspect_data import Inspection, ShownRow

app = typer.Typer(help="Check data, see it as the model will, make it from an instruction.")

ROWS = ("data.format", "data.map", "model", "trust_remote_code")
RUN = (*ROWS, "data.eval", "data.too_long", "data.max_tokens", "train.seed")
SHOWN_LINES = 5


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
    """Every fault with its line and a remedy; exit status 1 if a run would refuse the data."""
    from tunesmith.cli.keys import config_of_file
    from tunesmith.workflows.inspect_data import inspect_data

    config = config_of_file(file, context.args, known=_keys(*RUN))
    train, *held = inspect_data(config, emit=say)
    faults = [fault for each in (train, *held) for fault in each.faults]
    document = _checked(train) | {"faults": [_fault(fault) for fault in faults]}
    if held:
        document["eval"] = _checked(held[0])
    return Outcome(
        document,
        show=lambda console: _show_check([train, *held], faults, console),
        exit_status=1 if faults else 0,
    )


def _checked(inspection: "Inspection") -> dict[str, object]:
    return {
        "file": inspection.file,
        "format": inspection.format,
        "rows": inspection.rows,
        "tokens": inspection.tokens,
        "supervised_tokens": inspection.supervised_tokens,
        "longest": inspection.longest,
        "faults": [_fault(fault) for fault in inspection.faults],
        "warnings": [
            {"code": w.code, "message": w.message, "count": w.count, "lines": list(w.lines)}
            for w in inspection.warnings
        ],
    }


def _fault(fault: "Fault") -> dict[str, object]:
    names = ("file", "line", "code", "message", "remedy")
    return {name: getattr(fault, name) for name in names}


def _show_check(
    inspections: "Sequence[Inspection]", faults: "Sequence[Fault]", console: "Console"
) -> None:
    for each in inspections:
        share = f"{each.supervised_tokens:,} supervised, the longest row {each.longest:,}"
        console.print(
            f"{each.file}: format {each.format or 'unknown'}, {many(each.rows, 'row')}, "
            f"{many(each.tokens, 'token')} ({share})",
            soft_wrap=True,
        )
        for warning in each.warnings:
            lines = ", ".join(map(str, warning.lines[:SHOWN_LINES]))
            more = ", ..." if len(warning.lines) > SHOWN_LINES else ""
            text = f"note: {warning.message} ({many(warning.count, 'row')}: line {lines}{more})"
            console.print(harmless(text), style="yellow", soft_wrap=True)
    for fault in faults:
        console.print(harmless(str(fault)), style="red", soft_wrap=True)
    verdict = (
        f"{many(len(faults), 'fault')}: a run would refuse this data." if faults else "No faults."
    )
    console.print(verdict, style="bold")


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


app.command("distill")(distill)
app.command("curve", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)(curve)
