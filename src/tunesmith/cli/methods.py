"""`tunesmith methods`: what each method trains, for and against it, and when to use it."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from tunesmith.cli.outcome import Outcome, command
from tunesmith.cli.tables import print_facts

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.config.methods import MethodNote


@command
def methods() -> Outcome:
    """The fine-tuning methods: what each trains, for, against, when to use it."""
    from tunesmith.config.methods import method_notes

    notes = method_notes()
    rows = [{"kind": kind, **asdict(note)} for kind, note in notes.items()]
    return Outcome({"methods": rows}, show=lambda console: _show(notes, console))


def _show(notes: "dict[str, MethodNote]", console: "Console") -> None:
    for kind, note in notes.items():
        console.print(f"{kind}: {note.name}", style="bold")
        facts = (
            ("trains", note.trains),
            ("for", note.strengths),
            ("against", note.weaknesses),
            ("use it when", note.use_when),
            ("measured", note.measured),
        )
        print_facts(console, facts)
        console.print()
    console.print("Measured: SmolLM2-135M, held-out rows, three seeds (English reviews: one).")
    console.print("docs/methods.md has the tables.")
    console.print("Choose one with --method KIND, or `method: {kind: KIND}` in the config.")
