"""What is shown while work goes on: one live line on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tunesmith.api.show import in_notebook, sanitize, standard_console
from tunesmith.core.numbers import bytes_text, clock, count_text, duration, percent, pluralize
from tunesmith.core.progress import Event, Notice, Phase
from tunesmith.training.events import (
    BestCheckpoint,
    Ended,
    HeldOut,
    Planned,
    Saved,
    ScaledDown,
    StepDone,
)

SECONDS_BETWEEN_LINES = 10.0
BAR_WIDTH = 20


def console_for(progress: bool | None) -> Console | None:
    """Where progress is shown: standard error, where it is asked for (None: if someone looks)."""
    is_shown = progress or (progress is None and (sys.stderr.isatty() or in_notebook()))
    return standard_console(stderr=True) if is_shown else None


class LiveLine:
    """Lines that stay, and the one that changes; ``said`` is the last that stayed.

    On a terminal and in a notebook the changing line has a bar. Without a console it says nothing.
    """

    def __init__(
        self, console: Console | None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.said = ""
        self._console, self._now = console, now
        is_terminal = console is not None and console.is_terminal
        self._live = Live(console=console, transient=True) if is_terminal else None
        self._cell = _NotebookLine() if console is not None and in_notebook() else None
        self._said_at = -SECONDS_BETWEEN_LINES

    def start(self) -> None:
        """Before the first update."""
        if self._live is not None:
            self._live.start()

    def stop(self) -> None:
        """Take the changing line away."""
        if self._live is not None:
            self._live.stop()
        if self._cell is not None:
            self._cell.update("", None)

    def update(self, text: str, *, share: float | None = None, now: bool = False) -> None:
        """Change the line, ``share`` of it done; without a terminal it is a line now and then."""
        if self._cell is not None:
            self._cell.update(text, share)
        elif self._live is not None:
            self._live.update(_with_bar(Text(sanitize(text), "", overflow="ellipsis"), share))
        elif now or self._now() - self._said_at >= SECONDS_BETWEEN_LINES:
            self.say(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._said_at, self.said = self._now(), text
        if self._console is not None:
            self._console.print(sanitize(text), soft_wrap=True)


def _with_bar(text: Text, share: float | None) -> Text | Table:
    text.no_wrap = True
    if share is None:
        return text
    row = Table.grid(padding=(0, 1))
    row.add_row(ProgressBar(total=1.0, completed=share, width=BAR_WIDTH), text)
    return row


class _NotebookLine:
    """A line below a notebook's cell that changes in its place."""

    def __init__(self) -> None:
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def update(self, text: str, share: float | None) -> None:
        bar = "" if share is None else f'<progress value="{share:.3f}" max="1"></progress> '
        shown = {"text/plain": text, "text/html": f"{bar}{escape(text)}"}
        self._handle.update(shown, raw=True)


def _share(event: Phase) -> float | None:
    return event.done / event.total if event.total else None


def progress_text(event: Phase) -> str:
    """`answering 70 held-out questions (base) 8 of 70, 0:12 left ...`"""
    known = f" {event.done:,} of {event.total:,}" if event.total else ""
    left = "" if event.seconds_left is None else f", {clock(event.seconds_left)} left"
    return f"{event.phase}{known}{left} ..."


# What is said of every run. Everything else that is noticed is told again at its end.
INFORMATION = {
    "base",
    "data",
    "resumed",
    "complete",
    "best",
    "inserted_system_prompt",
    "cached",
    "judging",
    "left_out",  # which the evaluation tells too
}


class RunDisplay:
    """A subscriber to the events of a run; ``warnings`` holds what must be told again."""

    def __init__(
        self, console: Console | None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.warnings: list[str] = []
        self.run_folder: Path | None = None
        self._line = LiveLine(console, now=now)
        self._held_out: HeldOut | None = None
        self._last: StepDone | None = None
        self._phase = ""
        self._said: set[str] = set()

    def __enter__(self) -> Self:
        self._line.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._line.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Phase():
                self._progress(event)
            case Notice(code, message):
                self._notice(code, message)
            case Planned():
                self._line.say(planned_text(event))
            case StepDone():
                is_first, self._last = self._last is None, event
                text, share = step_text(event, self._held_out), event.step / event.steps
                self._line.update(text, share=share, now=is_first)
            case HeldOut():
                self._held_out = event
            case BestCheckpoint() | ScaledDown():
                pass  # a notice tells it, where there is something to tell
            case Saved(_, folder):
                self.run_folder = Path(folder).parent.parent
            case Ended():
                self._end()

    def _notice(self, code: str, message: str) -> None:
        """What several parts of a run notice is said once."""
        if message in self._said:
            return
        self._said.add(message)
        self.warnings += [message] * (code not in INFORMATION)
        self._line.say(f"note: {message}")

    def _progress(self, event: Phase) -> None:
        is_new, self._phase = event.phase != self._phase, event.phase
        self._line.update(progress_text(event), share=_share(event), now=is_new)

    def _end(self) -> None:
        """The last line stays, also on a terminal, where the live one goes."""
        if self._last is not None:
            text = step_text(self._last, self._held_out)
            if text != self._line.said:
                self._line.say(text)
        self._last = None


def planned_text(event: Planned) -> str:
    """`about 2.1 GB, 11 minutes, 120 steps of about 4,096 tokens, 4.9 M trainable parameters`."""
    steps = f"{pluralize(event.steps, 'step')} of about {pluralize(event.tokens_per_step, 'token')}"
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


class GroupDisplay:
    """A subscriber to the events of several runs, each told with the run's name.

    ``warnings`` holds what must be told again, with the runs that it was told of.
    """

    def __init__(self, console: Console | None) -> None:
        self.warnings: dict[str, list[str]] = {}
        self._line = LiveLine(console)
        self._steps: dict[str, StepDone] = {}
        self._held: dict[str, float] = {}
        self._said: set[str] = set()
        self._phase = ""

    def __enter__(self) -> Self:
        self._line.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._line.stop()

    def __call__(self, name: str, event: Event) -> None:
        """Show one event of the run called ``name``."""
        if isinstance(event, Phase):
            phase = f"{name}: {event.phase}"
            is_new, self._phase = phase != self._phase, phase
            text = f"{name}: {progress_text(event)}"
            self._line.update(text, share=_share(event), now=is_new)
        elif isinstance(event, Notice):
            if event.message not in self._said:  # what is the same for all runs is said once
                told = event.message if event.code in INFORMATION else f"{name}: {event.message}"
                self._line.say(f"note: {told}")
                self._said.add(event.message)
            if event.code not in INFORMATION:
                names = self.warnings.setdefault(event.message, [])
                names += [name] * (name not in names)
        elif isinstance(event, Planned):
            self._line.say(f"{name}: {planned_text(event)}")
        elif isinstance(event, StepDone):
            self._steps[name] = event
            share = max(each.step / each.steps for each in self._steps.values())
            self._line.update(self._progress(), share=share)
        elif isinstance(event, HeldOut):
            self._held[name] = event.loss
        elif isinstance(event, Ended) and name in self._steps:
            done = self._steps.pop(name)
            held = f", held-out {self._held[name]:.3f}" if name in self._held else ""
            after = f"{event.reason} after {pluralize(done.step, 'step')}"
            self._line.say(f"{name}: {after}, loss {done.loss:.3f}{held}")

    def _progress(self) -> str:
        steps = self._steps.values()
        losses = "  ".join(f"{name} {step.loss:.3f}" for name, step in self._steps.items())
        first = max(step.step / step.steps for step in steps)
        left = max(step.seconds_left for step in steps)
        return f"{percent(first)}, {duration(left)} left; loss: {losses}"
