"""Where a command writes, its tables, and how Ctrl-C ends its work in good order."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


PIPE_WIDTH = 120
# C0 without tab and newline, DEL and C1; each becomes a visible mark.
_CONTROL = dict.fromkeys({*range(0x20), *range(0x7F, 0xA0)} - {0x09, 0x0A}, "\N{SYMBOL FOR ESCAPE}")


def results() -> "Console":
    """Standard output, for what was asked; wide enough for tables when it is no terminal."""
    return _console(stderr=False)


def messages() -> "Console":
    """Standard error, for progress, notes and errors."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console  # here, so that --help need not load it

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    # Markup would swallow [brackets] of messages and answers, emoji names between colons.
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def say(text: str, *, style: str | None = None) -> None:
    """One message on standard error, never wrapped, so that it can be searched and copied."""
    messages().print(harmless(text), style=style, soft_wrap=True)


def paragraph(console: "Console", text: str, *, style: str | None = None) -> None:
    """A message among results: between words wrapped in a terminal, in one line for `grep`."""
    console.print(harmless(text), style=style, soft_wrap=not console.is_terminal)


def harmless(text: str) -> str:
    """``text`` whose control characters cannot move the cursor or recolour a terminal."""
    return text.translate(_CONTROL)


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


@contextlib.contextmanager
def stop_on_signal(notice: str) -> Iterator[Callable[[], bool]]:
    """Whether a stop was asked for; the first signal says ``notice``, a second one interrupts.

    Outside the main thread, where signals cannot be caught, the answer stays no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        # Not through a console: it may be in the middle of a write when the signal comes.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{notice}\n".encode())

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
