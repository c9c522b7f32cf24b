"""Where a command writes: results to standard output, everything else to standard error."""

import os
import sys
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
