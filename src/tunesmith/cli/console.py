"""Where a command writes: results on standard output, messages on standard error."""

from typing import TYPE_CHECKING

from tunesmith.api.show import sanitize, standard_console

if TYPE_CHECKING:
    from rich.console import Console


def results() -> "Console":
    """Standard output, for what was asked; wide enough for tables when it is no terminal."""
    return standard_console(stderr=False)


def messages() -> "Console":
    """Standard error, for progress, notes and errors."""
    return standard_console(stderr=True)


def say(text: str, *, style: str | None = None) -> None:
    """One message on standard error, never wrapped, so that it can be searched and copied."""
    messages().print(sanitize(text), style=style, soft_wrap=True)
