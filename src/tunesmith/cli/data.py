"""`tunesmith data`: whether a run would take a file, and its rows as the model will see them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.console import harmless, say
from tunesmith.cli.data_show import KEYS as SHOWN
from tunesmith.cli.data_show import show
from tunesmith.cli.distill import distill
from tunesmith.cli.keys_help import CONTEXT, FILE_KEYS, help_with_keys, keys_named
from tunesmith.cli.outcome import Outcome, command
from tunesmith.counts import many

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.data.faults import Fault, Note
    from tunesmith.workflows.inspect_data import Inspection

app = typer.Typer(help="Check data, see it as the model will, make it from an instruction.")

RUN = (*SHOWN, "data.eval", "data.too_long", "train.seed")
SHOWN_LINES = 5


File = Annotated[
    str,
    typer.Argument(metavar="FILE", help="Rows: JSONL, JSON, CSV, Parquet, XLSX, text, a folder."),
]


@app.command("check", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)
@command
def check(
    context: typer.Context,
    file: File,
    _: Annotated[bool, help_with_keys(lambda: keys_named(*RUN))] = False,
) -> Outcome:
    """Every fault with its line and a remedy; exit status 1 if a run would refuse the data."""
    from tunesmith.cli.keys import config_of_file
    from tunesmith.workflows.inspect_data import inspect_data

    config = config_of_file(file, context.args, known=keys_named(*RUN))
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
        "format_reason": inspection.reason,
        "rows": inspection.rows,
        "tokens": inspection.tokens,
        "supervised_tokens": inspection.supervised_tokens,
        "longest": inspection.longest,
        "faults": [_fault(fault) for fault in inspection.faults],
        "warnings": [
            {
                "code": w.code,
                "message": w.message,
                "count": w.count,
                "lines": _lines(w),
            }
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
        why = f" ({each.reason})" if each.reason else ""
        share = f"{each.supervised_tokens:,} supervised, the longest row {each.longest:,}"
        console.print(
            f"{each.file}: format {each.format or 'unknown'}{why}, {many(each.rows, 'row')}, "
            f"{many(each.tokens, 'token')} ({share})",
            soft_wrap=True,
        )
        for warning in each.warnings:
            text = f"note: {warning.message}{_where(warning)}"
            console.print(harmless(text), style="yellow", soft_wrap=True)
    for fault in faults:
        console.print(harmless(str(fault)), style="red", soft_wrap=True)
    verdict = (
        f"{many(len(faults), 'fault')}: a run would refuse this data." if faults else "No faults."
    )
    console.print(verdict, style="bold")


def _lines(warning: "Note") -> list[int]:
    """The lines that it is about; none where it is about the file."""
    return [line for line in warning.lines if line]


def _where(warning: "Note") -> str:
    """How many rows it is about, and the first of their lines."""
    found = _lines(warning)
    if not found:
        return ""
    lines = ", ".join(map(str, found[:SHOWN_LINES]))
    more = ", ..." if len(found) > SHOWN_LINES else ""
    return f" ({many(warning.count, 'row')}: line {lines}{more})"


app.command("show", options_metavar="[--KEY VALUE ...] [OPTIONS]", context_settings=CONTEXT)(show)
app.command("distill")(distill)
