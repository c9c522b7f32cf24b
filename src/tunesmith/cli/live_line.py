"""One line that changes while something goes on: live on a terminal, now and then one elsewhere."""

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tunesmith.cli.console import harmless
from tunesmith.cli.quantities import clock
from tunesmith.train.events import Progress

SECONDS_BETWEEN_LINES = 10.0


class LiveLine:
    """Lines that stay, and the one that changes; ``said`` is the last that stayed."""

    def __init__(self, console: Console, *, now: Callable[[], float] = time.monotonic) -> None:
        self.said = ""
        self._console, self._now = console, now
        self._live = Live(console=console, transient=True) if console.is_terminal else None
        self._said_at = -SECONDS_BETWEEN_LINES

    def start(self) -> None:
        """Before the first update."""
        if self._live is not None:
            self._live.start()

    def stop(self) -> None:
        """Take the changing line away."""
        if self._live is not None:
            self._live.stop()

    def update(self, text: str, *, now: bool = False) -> None:
        """Change the line; without a terminal it is said where the last one is long ago."""
        if self._live is not None:
            self._live.update(Text(harmless(text), no_wrap=True, overflow="ellipsis"))
        elif now or self._now() - self._said_at >= SECONDS_BETWEEN_LINES:
            self.say(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._said_at, self.said = self._now(), text
        self._console.print(harmless(text), soft_wrap=True)


def progress_text(event: Progress) -> str:
    """`answering 70 held-out questions (base) 8 of 70, 0:12 left ...`"""
    known = f" {event.done:,} of {event.total:,}" if event.total else ""
    left = "" if event.seconds_left is None else f", {clock(event.seconds_left)} left"
    return f"{event.phase}{known}{left} ..."
