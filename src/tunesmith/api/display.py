"""What is shown during work: one live line on a terminal, elsewhere a line now and then."""

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
from tunesmith.core.language import localized
from tunesmith.core.numbers import (
    bytes_text,
    clock,
    count_text,
    duration,
    duration_between,
    percent,
    pluralize,
)
from tunesmith.core.progress import TOGETHER, Event, Notice, Phase
from tunesmith.core.ranks import speaks
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
    """Where progress is shown: standard error, where it is asked for (None: if someone looks).

    Of several ranks the first alone shows it.
    """
    is_shown = progress or (progress is None and (sys.stderr.isatty() or in_notebook()))
    return standard_console(stderr=True) if is_shown and speaks() else None


class LiveLine:
    """Lines that stay, and the one that changes; ``last`` is the last that stayed.

    On a terminal and in a notebook the changing line has a bar. Without a console nothing is shown.
    """

    def __init__(
        self, console: Console | None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.last = ""
        self._console, self._now = console, now
        is_terminal = console is not None and console.is_terminal
        self._live = Live(console=console, transient=True) if is_terminal else None
        self._cell = _NotebookLine() if console is not None and in_notebook() else None
        self._kept_at = -SECONDS_BETWEEN_LINES

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
        text = localized(text)
        if self._cell is not None:
            self._cell.update(text, share)
        elif self._live is not None:
            self._live.update(_with_bar(Text(sanitize(text), "", overflow="ellipsis"), share))
        elif now or self._now() - self._kept_at >= SECONDS_BETWEEN_LINES:
            self.keep(text)

    def keep(self, text: str) -> None:
        """A line that stays."""
        text = localized(text)
        self._kept_at, self.last = self._now(), text
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


def progress_text(event: Phase) -> str:
    """`answering 70 held-out questions (base) 8 of 70, 0:12 left ...`"""
    known = f" {event.done:,} of {event.total:,}" if event.total else ""
    left = "" if event.seconds_left is None else f", {clock(event.seconds_left)} left"
    return f"{localized(event.phase)}{known}{left} ..."


# Notices that are not shown again at the end of a run.
INFORMATION = {
    "base",
    "data",
    "resumed",
    "unfinished",
    "complete",
    "best",
    "inserted_system_prompt",
    "cached",
    "judging",  # the code of an event
    "left_out",  # which the evaluation shows too
    "plan",
    "length",
    "retention",
    "evaluation",
}


class Display:
    """Shows events on one line while a ``with`` lasts."""

    def __init__(
        self, console: Console | None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._line = LiveLine(console, now=now)
        self._seen: set[str] = set()
        self._phase = ""

    def __enter__(self) -> Self:
        self._line.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._line.stop()

    def _show_phase(self, event: Phase, name: str = "") -> None:
        is_new, self._phase = name + event.phase != self._phase, name + event.phase
        share = event.done / event.total if event.total else None
        self._line.update(name + progress_text(event), share=share, now=is_new)

    def _show_notice(self, notice: Notice, name: str = "") -> bool:
        """A line for a new message: what several parts or runs notice is shown once."""
        is_new = notice.message not in self._seen
        if is_new:
            self._seen.add(notice.message)
            self._line.keep(f"note: {name}{notice.message}")
        return is_new


class RunDisplay(Display):
    """A subscriber to the events of a run; ``warnings`` holds what must be shown again."""

    def __init__(
        self, console: Console | None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(console, now=now)
        self.warnings: list[str] = []
        self.run_folder: Path | None = None
        self._held_out: HeldOut | None = None
        self._last: StepDone | None = None
        self._evaluation = 0.0

    def _step_text(self, event: StepDone) -> str:
        return step_text(event, self._held_out, evaluation=self._evaluation)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Phase():
                self._show_phase(event)
            case Notice(code, message):
                if self._show_notice(event) and code not in INFORMATION:
                    self.warnings.append(message)
            case Planned():
                self._evaluation = evaluation_seconds(event)
                self._line.keep(planned_text(event))
            case StepDone():
                is_first, self._last = self._last is None, event
                text, share = self._step_text(event), event.step / event.steps
                self._line.update(text, share=share, now=is_first)
            case HeldOut():
                self._held_out = event
            case BestCheckpoint() | ScaledDown():
                pass  # a notice reports it, where there is something to report
            case Saved(_, folder):
                self.run_folder = Path(folder).parent.parent
            case Ended():
                self._end()

    def _end(self) -> None:
        """The last line stays, also on a terminal, where the live one goes."""
        if self._last is not None:
            text = self._step_text(self._last)
            if localized(text) != self._line.last:
                self._line.keep(text)
        self._last = None


def planned_text(event: Planned) -> str:
    """`about 2.1 GB, 11 minutes, 120 steps of about 4,096 tokens, 4.9 M trainable parameters`.

    With an evaluation it is `14 to 16 minutes (11 minutes of training, 3 to 5 minutes of
    evaluation)`.
    """
    steps = f"{pluralize(event.steps, 'step')} of about {pluralize(event.tokens_per_step, 'token')}"
    start = f" (resumed after step {event.first_step:,})" if event.first_step else ""
    trained = f"{count_text(event.trainable_parameters)} trainable parameters"
    if event.lr is not None:
        trained += f", learning rate {event.lr:.2g}"
    each = f" on each of {event.ranks} ranks" if event.ranks > 1 else ""
    memory = f"about {bytes_text(event.peak_bytes)}{each}"
    return f"{memory}, {_total_text(event)}, {steps}, {trained}{start}"


def _total_text(event: Planned) -> str:
    low, high = event.evaluation_seconds, event.evaluation_seconds_most
    if not high:
        return duration(event.seconds)
    total = duration_between(event.seconds + low, event.seconds + high)
    evaluation = duration_between(low, high)
    return f"{total} ({duration(event.seconds)} of training, {evaluation} of evaluation)"


def evaluation_seconds(event: Planned | None) -> float:
    """What the evaluation is expected to take; 0 without one.

    With retention a search for the adapter's scale is rare; without, half of it is expected.
    """
    if event is None or event.is_retained:
        return event.evaluation_seconds if event else 0.0
    return (event.evaluation_seconds + event.evaluation_seconds_most) / 2


def step_text(event: StepDone, held_out: HeldOut | None, *, evaluation: float = 0.0) -> str:
    """Where the run is: step, time left with so many seconds after it, losses, speed, memory.

    A narrow terminal cuts it at its end.
    """
    parts = [
        f"step {event.step:,}/{event.steps:,}",
        f"{clock(event.seconds_left + evaluation)} left",
        f"loss {event.loss:.3f}",
    ]
    if held_out is not None:
        best = ", the best" if held_out.best else ""
        by_answers = " by its answers" if held_out.best and held_out.passed is not None else ""
        right = held_out.token_accuracy
        also = "" if right is None else f", {percent(right, 1)} of tokens right"
        where = f"step {held_out.step:,}{best}{by_answers}"
        parts.append(f"held-out {held_out.loss:.3f}{also} ({where})")
    parts += [f"{event.tokens_per_second:,.0f} tokens/s", bytes_text(event.peak_bytes)]
    if evaluation >= 1:
        parts.append(f"evaluation {clock(evaluation)}")
    return " · ".join(parts)


class GroupDisplay(Display):
    """A subscriber to the events of several runs, each with the run's name.

    ``warnings`` holds what must be shown again, with the names of the runs.
    """

    def __init__(self, console: Console | None) -> None:
        super().__init__(console)
        self.warnings: dict[str, list[str]] = {}
        self._steps: dict[str, StepDone] = {}
        self._held: dict[str, float] = {}
        self._evaluation: dict[str, float] = {}  # seconds, by run
        self._whole: Phase | None = None

    def __call__(self, name: str, event: Event) -> None:
        """Show one event of the run called ``name``."""
        match event:
            case Phase():
                if name == TOGETHER:  # how far all of it is, where that is known
                    self._whole = event if event.total else None
                self._show_phase(event, f"{name}: ")
            case Notice(code, message):
                is_warning = code not in INFORMATION
                self._show_notice(event, f"{name}: " if is_warning else "")
                if is_warning:
                    names = self.warnings.setdefault(message, [])
                    names += [name] * (name not in names)
            case Planned():
                self._evaluation[name] = evaluation_seconds(event)
                self._line.keep(f"{name}: {planned_text(event)}")
            case StepDone():
                self._steps[name] = event
                share, left = self._share_and_left()
                losses = "  ".join(f"{n} {step.loss:.3f}" for n, step in self._steps.items())
                text = f"{percent(share)}, {duration(left)} left; loss: {losses}"
                self._line.update(text, share=share)
            case HeldOut():
                self._held[name] = event.loss
            case Ended() if name in self._steps:
                done = self._steps.pop(name)
                held = f", held-out {self._held[name]:.3f}" if name in self._held else ""
                after = f"{event.reason} after {pluralize(done.step, 'step')}"
                self._line.keep(f"{name}: {after}, loss {done.loss:.3f}{held}")

    def _share_and_left(self) -> tuple[float, float]:
        """Of the whole where that is known, else of the runs that train now; and the seconds."""
        whole, steps = self._whole, self._steps.values()
        if whole is not None and whole.total and whole.seconds_left is not None:
            return whole.done / whole.total, whole.seconds_left
        left = max(step.seconds_left for step in steps)
        left += sum(self._evaluation[name] for name in self._steps if name in self._evaluation)
        return max(step.step / step.steps for step in steps), left
