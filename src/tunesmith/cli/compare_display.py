"""What a comparison shows: one line of all runs while they train, one table at the end."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from rich.console import Console

from tunesmith.cli.console import harmless
from tunesmith.cli.live_line import LiveLine, progress_text
from tunesmith.cli.quantities import bytes_text, count_text, duration
from tunesmith.cli.run_display import INFORMATION, planned_text
from tunesmith.cli.tables import print_table
from tunesmith.counts import many, percent
from tunesmith.train.events import Ended, Event, HeldOut, Notice, Planned, Progress, StepDone

if TYPE_CHECKING:
    from tunesmith.workflows.compare import Comparison

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
        if isinstance(event, Progress):
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
