"""`tunesmith init`: a commented config for a data file."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunesmith.cli.console import harmless, say
from tunesmith.cli.keys_help import FILE_KEYS, help_with_keys, keys_named
from tunesmith.cli.outcome import Outcome, command
from tunesmith.counts import many

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.data.faults import Fault
    from tunesmith.workflows.draft_config import Draft

CONFIG, SHOWN_FAULTS = Path("tunesmith.yaml"), 5


@command
def init(
    context: typer.Context,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="The training rows: a file of any kind, a folder.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", readable=False, help="Where the config goes.")
    ] = CONFIG,
    _: Annotated[bool, help_with_keys(lambda: keys_named(*FILE_KEYS))] = False,
) -> Outcome:
    """Write a commented config for DATA: its format, and checks that its answers suggest."""
    from tunesmith.cli.keys import config_of_file
    from tunesmith.workflows.draft_config import draft_config, write_draft

    words = context.args
    draft = draft_config(config_of_file(data, words, known=keys_named(*FILE_KEYS)).data)
    write_draft(draft, out)
    if draft.faults:
        _tell_faults(draft.faults, shlex.join([data, *words]))
    document = {
        "out": out,
        "format": draft.format,
        "rows": draft.rows,
        "checks": [{**each.check, "reason": each.reason} for each in draft.proposals],
        "faults": len(draft.faults),
    }
    return Outcome(document, show=lambda console: _show(draft, out, console))


def _tell_faults(faults: "Sequence[Fault]", words: str) -> None:
    """How many there are, the first of them, and what lists all."""
    count = many(len(faults), "fault")
    say(f"note: {count}, for which a run refuses this data:", style="yellow")
    for fault in faults[:SHOWN_FAULTS]:
        say(f"  {fault}", style="yellow")
    if len(faults) > SHOWN_FAULTS:
        say(f"  ... and {len(faults) - SHOWN_FAULTS:,} more", style="yellow")
    say(f"All are listed by: tunesmith data check {words}")


def _show(draft: "Draft", out: Path, console: "Console") -> None:
    console.print(f"{out}: {many(draft.rows, 'row')}, format {draft.format}", soft_wrap=True)
    for proposal in draft.proposals:
        text = f"check {proposal.check['kind']}: {proposal.reason}"
        console.print(harmless(text), soft_wrap=True)
    if not draft.proposals:
        console.print("no check: nothing in the answers suggests a rule; add one if you have it")
    console.print("\nNext:", style="bold")
    console.print(f"  tunesmith train {shlex.quote(str(out))}", soft_wrap=True)
