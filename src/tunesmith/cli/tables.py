"""Tables without frames, for results that are rows or facts."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from tunesmith.cli.console import harmless

if TYPE_CHECKING:
    from rich.console import Console

FACT_WIDTH = 90


def print_table(
    console: "Console",
    titles: Sequence[str],
    *,
    rows: Iterable[Sequence[str]],
    numbers: Collection[str] = (),
    whole: Collection[str] = (),
) -> None:
    """One line for each row; the columns in ``numbers`` stand to the right.

    Those in ``whole`` are not broken where there is room for them; the others wrap at words.
    """
    from rich.table import Table

    table = Table(box=None)
    for title in titles:
        is_number = title in numbers
        table.add_column(
            title,
            justify="right" if is_number else "left",
            no_wrap=is_number or title in whole,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(harmless, row))
    console.print(table)


def print_facts(console: "Console", facts: Iterable[tuple[str, str]]) -> None:
    """A name and what is true of it, a line each; long values are wrapped beside the name."""
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(max_width=FACT_WIDTH, overflow="fold")
    for name, value in facts:
        table.add_row(name, harmless(value))
    console.print(table)
