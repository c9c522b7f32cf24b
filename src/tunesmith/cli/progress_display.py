"""What is shown while work goes on: one live line on a terminal, now and then a line elsewhere."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tunesmith.cli.console import harmless, print_table
from tunesmith.core.numbers import bytes_text, clock, count_text, duration, many, percent
from tunesmith.core.progress import Event, Notice, Phase
from tunesmith.training.events import (
    BestCheckpoint,
    Ended,
    HeldOut,
    Planned,
    Saved,
    StepDone,
    Weakened,
)

if TYPE_CHECKING:
    from tunesmith.studies.compare import Comparison


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
            case Phase():
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

    def _notice(self, code: str, message: str) -> None:
        """What several parts of a run notice is said once."""
        if message in self._said:
            return
        self._said.add(message)
        self.warnings += [message] * (code not in INFORMATION)
        self._line.say(f"note: {message}")

    def _progress(self, event: Phase) -> None:
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


TITLES = ("run", "method", "trained", "adapter", "peak", "tokens/s", "loss", "held-out", "score")
NUMBERS = TITLES[2:]


class CompareDisplay:
    """A subscriber to the events of several runs, each told with the run's name.

    ``warnings`` holds what must be told again, with the runs that it was told of.
    """

    def __init__(self, console: Console) -> None:
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
            self._line.update(f"{name}: {progress_text(event)}", now=is_new)
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
            self._line.update(self._progress())
        elif isinstance(event, HeldOut):
            self._held[name] = event.loss
        elif isinstance(event, Ended) and name in self._steps:
            done = self._steps.pop(name)
            held = f", held-out {self._held[name]:.3f}" if name in self._held else ""
            after = f"{event.reason} after {many(done.step, 'step')}"
            self._line.say(f"{name}: {after}, loss {done.loss:.3f}{held}")

    def _progress(self) -> str:
        steps = self._steps.values()
        losses = "  ".join(f"{name} {step.loss:.3f}" for name, step in self._steps.items())
        first = max(step.step / step.steps for step in steps)
        left = max(step.seconds_left for step in steps)
        return f"{percent(first)}, {duration(left)} left; loss: {losses}"


def show_comparison(
    found: "Comparison",
    console: Console,
    *,
    remedy: str,
    warnings: Mapping[str, Sequence[str]],
) -> None:
    """The table, the base's own score, what was noticed, and what failed or is unfinished."""
    document = found.to_json()
    rows = document["runs"]
    assert isinstance(rows, list)
    print_table(console, TITLES, rows=[_cells(row) for row in rows], numbers=NUMBERS)
    if document["base"]["score"] is not None:  # type: ignore[index]
        console.print(f"base without training: {interval_text(document['base'])}")
    console.print(
        "Score: the first check on held-out rows, with its 95 % interval. Runs that trained "
        "together share one peak and one speed."
    )
    for ranks in document["loss_against_rank"]:  # type: ignore[attr-defined]
        if ranks["text"]:
            console.print(harmless(f"{', '.join(ranks['runs'])}: {ranks['text']}"))
    console.print(f"report: {document['report']}", soft_wrap=True)
    failed: dict[str, list[str]] = {}
    for row in found.rows:
        if row.error is not None:
            failed.setdefault(str(row.error), []).append(row.name)
    for error, names in failed.items():
        console.print(harmless(f"{', '.join(names)} failed: {error}"), style="red")
    for warning, runs in warnings.items():
        console.print(harmless(f"note: {', '.join(runs)}: {warning}"))
    if remedy:
        console.print(harmless(remedy))


def _cells(row: "dict[str, object]") -> list[str]:
    def number(key: str, form: str) -> str:
        value = row[key]
        return "-" if value is None else format(value, form)

    trained, size, peak = row["trainable_parameters"], row["adapter_bytes"], row["peak_bytes"]
    return [
        str(row["name"]),
        str(row["method"]),
        count_text(trained) if isinstance(trained, int) else "-",
        bytes_text(size) if isinstance(size, int) else "-",
        bytes_text(peak) if isinstance(peak, int) else "-",
        number("tokens_per_second", ",.0f"),
        number("train_loss", ".3f"),
        number("eval_loss", ".3f"),
        interval_text(row),
    ]


def interval_text(values: object) -> str:
    """A score with its limits, from a JSON object that has them."""
    assert isinstance(values, dict)
    if values["score"] is None:
        return "-"
    return f"{percent(values['score'])} ({percent(values['low'])} to {percent(values['high'])})"
