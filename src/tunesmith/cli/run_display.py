"""What a run shows while it goes: one live line on a terminal, now and then a line elsewhere."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, assert_never

from rich.console import Console

from tunesmith.cli.live_line import LiveLine, progress_text
from tunesmith.cli.quantities import bytes_text, clock, count_text, duration
from tunesmith.counts import many
from tunesmith.train.events import (
    BestCheckpoint,
    Ended,
    Event,
    HeldOut,
    Notice,
    Planned,
    Progress,
    Saved,
    StepDone,
    Weakened,
)

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

    def __init__(self, console: Console, *, now: Callable[[], float] = time.monotonic) -> None:
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
            case Progress():
                self._progress(event)
            case Notice(code, message):
                self._notice(code, message)
            case Planned():
                self._line.say(planned_text(event))
            case StepDone():
                is_first, self._last = self._last is None, event
                self._line.update(step_text(event, self._held_out), now=is_first)
            case HeldOut():
                self._held_out = event
            case BestCheckpoint() | Weakened():
                pass  # a notice tells it, where there is something to tell
            case Saved(_, folder):
                self.run_folder = Path(folder).parent.parent
            case Ended():
                self._end()
            case _:
                assert_never(event)

    def _notice(self, code: str, message: str) -> None:
        """What several parts of a run notice is said once."""
        if message in self._said:
            return
        self._said.add(message)
        self.warnings += [message] * (code not in INFORMATION)
        self._line.say(f"note: {message}")

    def _progress(self, event: Progress) -> None:
        is_new, self._phase = event.phase != self._phase, event.phase
        self._line.update(progress_text(event), now=is_new)

    def _end(self) -> None:
        """The last line stays, also on a terminal, where the live one goes."""
        if self._last is not None:
            text = step_text(self._last, self._held_out)
            if text != self._line.said:
                self._line.say(text)
        self._last = None


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
