"""How results show themselves: in a terminal, as text, and in a notebook."""

import io
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tunesmith.core.language import current_language, language_of, localized

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

WIDTH = 120  # where no terminal says how wide it is
FACT_WIDTH = 90
PADDING = 2  # of a column
# C0 without tab and newline, DEL and C1; each becomes a visible mark.
_CONTROL = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A}, "\N{SYMBOL FOR ESCAPE}")
_HTML = (
    '<pre style="white-space:pre-wrap;font-family:monospace;line-height:1.3;margin:0">{code}</pre>'
)

Document = Mapping[str, Any]  # as JSON has it


class Outcome:
    """What a verb gives: a JSON document, and a way to show it to a person.

    ``str()`` is the text that the command prints; a notebook shows the same with colours.
    """

    @property
    def is_good(self) -> bool:
        """Whether a command that ends with it exits with status 0, and not 1."""
        return True

    @property
    def status(self) -> int:
        """The exit status of a command that ends with it."""
        return 0 if self.is_good else 1

    def evaluations(self) -> Mapping[str, Document | None]:
        """The evaluate documents in it by the run's name; None where a run has none.

        Of a run that failed it is its ``error`` alone.
        """
        return {}

    def to_json(self) -> Document:
        """The document that the command prints with ``--json``: that of what was ``found``."""
        return self.found.to_json()  # type: ignore[attr-defined, no-any-return]

    def show(self, console: "Console") -> None:
        """Print it for a person."""
        raise NotImplementedError

    def __str__(self) -> str:
        text = io.StringIO()
        self.show(console_on(text, width=WIDTH))
        return text.getvalue().rstrip("\n")

    def __rich_console__(
        self, console: "Console", _: "ConsoleOptions"
    ) -> "Iterator[RenderableType]":
        from rich.text import Text

        with console.capture() as text:
            self.show(console)
        yield Text.from_ansi(text.get())

    def _repr_html_(self) -> str:
        from rich.console import Console

        console = Console(
            file=io.StringIO(),
            width=WIDTH,
            record=True,
            markup=False,
            emoji=False,
            highlight=False,
            force_jupyter=False,  # else a kernel displays each piece as well
        )
        self.show(console)
        return console.export_html(inline_styles=True, code_format=_HTML)


def console_on(stream: io.TextIOBase, *, width: int | None = None) -> "Console":
    """A console that prints texts as they are: no markup, no emoji names, no colours of its own."""
    from rich.console import Console  # here, so that --help need not load it

    # Markup would swallow [brackets] of messages and answers, emoji names between colons.
    return Console(
        file=stream,  # type: ignore[arg-type]
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        force_jupyter=False,
    )


def standard_console(*, stderr: bool) -> "Console":
    """Standard output or error; wide enough for tables when it is no terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def sanitize(text: str) -> str:
    """``text`` whose control characters cannot move the cursor or recolour a terminal."""
    return text.translate(_CONTROL)


def line(console: "Console", text: str, *, style: str | None = None) -> None:
    """A message in the user's language, never wrapped, so that it can be searched and copied."""
    console.print(sanitize(localized(text)), style=style, soft_wrap=True)


def paragraph(console: "Console", text: str, *, style: str | None = None) -> None:
    """A message among results: between words wrapped in a terminal, in one line for `grep`."""
    console.print(sanitize(localized(text)), style=style, soft_wrap=not console.is_terminal)


def show_notes(console: "Console", messages: Iterable[str]) -> None:
    """What must not be overlooked, a line each."""
    for message in messages:
        line(console, f"note: {message}", style="yellow")


def show_next(console: "Console", commands: Iterable[str], *, title: str = "\nNext:") -> None:
    """Commands that come next, under a title; in a language that was asked for they ask for it."""
    commands, language = list(commands), current_language()
    asked = "" if language == language_of(os.environ) else f" --language {language}"
    if commands:
        console.print(localized(title), style="bold")
    for command in commands:
        flag = asked if command.startswith("tunesmith ") else ""
        console.print(f"  {sanitize(command)}{flag}", soft_wrap=True)


def print_table(  # noqa: PLR0913  # one for each kind of column
    console: "Console",
    titles: Sequence[str],
    *,
    rows: Iterable[Sequence[str]],
    numbers: Collection[str] = (),
    whole: Collection[str] = (),
    words: Collection[str] = (),
    beside: Sequence[str] = (),
) -> None:
    """One line for each row, under titles in the user's language.

    The columns in ``numbers`` are right-aligned, the cells of those in ``words`` messages. Those in
    ``whole`` are not broken where there is room for them; the others wrap at words. Where the
    console is too narrow, columns of ``beside`` are left out, the first one first, and named.
    """
    from rich.table import Table

    rows = [
        [localized(c) if t in words else c for t, c in zip(titles, r, strict=True)] for r in rows
    ]
    out = _without_room(
        console.width, titles, rows, wrapped={*titles} - {*numbers, *whole}, beside=beside
    )
    left = ", ".join(localized(titles[place]) for place in out)
    kept = [place for place in range(len(titles)) if place not in out]
    titles, rows = [titles[i] for i in kept], [[row[i] for i in kept] for row in rows]
    table = Table(box=None)
    for title in titles:
        is_number = title in numbers
        table.add_column(
            localized(title),
            justify="right" if is_number else "left",
            no_wrap=is_number or title in whole,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(sanitize, row))
    console.print(table)
    if left:
        paragraph(console, f"Not shown for want of room: {left}.", style="dim")


SHORTEST = 12  # letters of a cell that may be broken


def _without_room(
    width: int,
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    wrapped: Collection[str],
    beside: Sequence[str],
) -> list[int]:
    """The places of the columns of ``beside`` for which a line has no room, in their order.

    Of columns with one title the last is meant: a check may be called as a cost is.
    """
    from rich.cells import cell_len

    room = {}
    for place, title in enumerate(titles):
        longest = max(map(cell_len, [localized(title), *(row[place] for row in rows)]))
        room[place] = PADDING + (min(longest, SHORTEST) if title in wrapped else longest)
    last = {title: place for place, title in enumerate(titles)}
    out: list[int] = []
    for place in (last[title] for title in beside if title in last):
        if sum(room.values()) <= width:
            break
        out.append(place)
        del room[place]
    return out


def print_facts(console: "Console", facts: Iterable[tuple[str, str]]) -> None:
    """A name and what is true of it, a line each; long values are wrapped beside the name."""
    from rich.table import Table

    table = Table(box=None, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(max_width=FACT_WIDTH, overflow="fold")
    for name, value in facts:
        said = localized(value) if " " in value else value  # one word may be a name
        table.add_row(localized(name), sanitize(said))
    console.print(table)
