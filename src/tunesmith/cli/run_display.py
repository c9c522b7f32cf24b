"""What a run shows while it goes: one live line on a terminal, now and then a line elsewhere."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, assert_never

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tunesmith.cli.console import harmless
from tunesmith.cli.quantities import bytes_text, clock, count_text, duration
from tunesmith.counts import many
from tunesmith.train.events import (
    Ended,
    Event,
    HeldOut,
    Notice,
    Planned,
    Progress,
    Saved,
    StepDone,
)

SECONDS_BETWEEN_LINES = 10.0
# What is said of every run. Everything else that is noticed is told again at its end.
INFORMATION = {"base", "data", "resumed", "complete", "best", "inserted_system_prompt"}


class Pace:
    """When a line is due again where there is no live one."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._said_at = now, -SECONDS_BETWEEN_LINES

    def is_due(self) -> bool:
        """Whether the last line is long ago; asking for it is saying it."""
        due = self._now() - self._said_at >= SECONDS_BETWEEN_LINES
        if due:
            self.said()
        return due

    def said(self) -> None:
        """A line was said now."""
        self._said_at = self._now()


class RunDisplay:
    """A subscriber to the events of a run; ``warnings`` holds what must be told again."""

    def __init__(self, console: Console, *, now: Callable[[], float] = time.monotonic) -> None:
        self.warnings: list[str] = []
        self.run_folder: Path | None = None
        self._console = console
        self._pace = Pace(now)
        self._live = Live(console=console, transient=True) if console.is_terminal else None
        self._held_out: HeldOut | None = None
        self._last: StepDone | None = None
        self._phase = self._said = ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Progress():
                self._progress(event)
            case Notice(code, message):
                if code not in INFORMATION and message not in self.warnings:
                    self.warnings.append(message)
                self._line(f"note: {message}")
            case Planned():
                self._line(planned_text(event))
            case StepDone():
                is_first, self._last = self._last is None, event
                self._update(step_text(event, self._held_out), now=is_first)
            case HeldOut():
                self._held_out = event
            case Saved(_, folder):
                self.run_folder = Path(folder).parent.parent
            case Ended():
                self._end()
            case _:
                assert_never(event)

    def _progress(self, event: Progress) -> None:
        is_new, self._phase = event.phase != self._phase, event.phase
        known = f" {event.done:,} of {event.total:,}" if event.total else ""
        left = "" if event.seconds_left is None else f", {clock(event.seconds_left)} left"
        self._update(f"{event.phase}{known}{left} ...", now=is_new)

    def _end(self) -> None:
        """The last line stays, also on a terminal, where the live one goes."""
        if self._last is not None:
            text = step_text(self._last, self._held_out)
            if text != self._said:
                self._line(text)
        self._last = None

    def _update(self, text: str, *, now: bool) -> None:
        if self._live is not None:
            line = Text(harmless(text), no_wrap=True, overflow="ellipsis")
            self._live.update(line)
        elif now or self._pace.is_due():
            self._line(text)

    def _line(self, text: str) -> None:
        self._pace.said()
        self._said = text
        self._console.print(harmless(text), soft_wrap=True)


def planned_text(event: Planned) -> str:
    """`about 2.1 GB, 11 minutes, 120 steps of about 4,096 tokens, 4.9 M trainable parameters`."""
    steps = f"{many(event.steps, 'step')} of about {many(event.tokens_per_step, 'token')}"
    start = f" (going on after step {event.first_step:,})" if event.first_step else ""
    trained = f"{count_text(event.trainable_parameters)} trainable parameters"
    return (
        f"about {bytes_text(event.peak_bytes)}, {duration(event.seconds)}, {steps}, "
        f"{trained}{start}"
    )


def step_text(event: StepDone, held_out: HeldOut | None) -> str:
    """Where the run is: step, losses, speed, memory, time left."""
    parts = [f"step {event.step:,}/{event.steps:,}", f"loss {event.loss:.3f}"]
    if held_out is not None:
        best = ", the best" if held_out.best else ""
        parts.append(f"held-out {held_out.loss:.3f} (step {held_out.step:,}{best})")
    parts += [f"{event.tokens_per_second:,.0f} tokens/s", bytes_text(event.peak_bytes)]
    parts.append(f"{clock(event.seconds_left)} left")
    return " · ".join(parts)
