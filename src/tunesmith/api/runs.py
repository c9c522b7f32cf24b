"""`list_runs`, `show_run`, `write_report`: the history of runs, one of them, its page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.api.show import Outcome, line, print_table, sanitize, show_next, show_notes
from tunesmith.api.train import Run, folder_of
from tunesmith.core.language import localized
from tunesmith.core.numbers import percent, pluralize

if TYPE_CHECKING:
    from rich.console import Console

    from tunesmith.runs.history import RunRecord

_STATE_STYLES = {
    "running": "cyan",
    "done": "green",
    "early": "green",
    "stopped": "yellow",
    "failed": "red",
    "interrupted": "yellow",
}


_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], *, width: int = 50) -> str:
    """At most ``width`` blocks, each the mean of its share of ``values``; NaN and the like are `×`.

    The lowest value is the lowest block, the highest the highest.
    """
    count = min(width, len(values))
    cuts = [round(i * len(values) / count) for i in range(count + 1)] if count else [0]
    means = [
        math.fsum(part) / len(part)
        for start, stop in pairwise(cuts)
        if (part := values[start:stop])
    ]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_block(mean, low, high) for mean in means)


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "×"
    share = (value - low) / (high - low) if high > low else 0.0
    return _BLOCKS[round(share * (len(_BLOCKS) - 1))]


@dataclass(frozen=True, slots=True)
class RunList(Outcome):
    """The runs below a folder."""

    records: "Sequence[RunRecord]"
    root: Path

    def to_json(self) -> dict[str, object]:
        """What `runs list --json` prints."""
        return {"runs": [record.to_json() for record in self.records]}

    def show(self, console: "Console") -> None:
        """How far each came, its losses, its score and verdict."""
        records, root = self.records, self.root
        if not records:
            line(console, f"No runs in {root}. `tunesmith demo` or `tunesmith train` makes one.")
            return
        numbers = ("steps", "loss", "held-out", "score")
        titles = ("run", "state", "method", "model", *numbers, "verdict")
        print_table(console, titles, rows=map(_row, records), numbers=numbers, words=("verdict",))


def list_runs(root: str | Path = "runs") -> RunList:
    """Every run below ``root``: how far it came, and its losses (nats per supervised token)."""
    from tunesmith.runs.history import list_runs as find

    return RunList(find(Path(root)), Path(root))


def _row(record: "RunRecord") -> tuple[str, ...]:
    facts = record.to_json()
    planned = f"/{record.planned:,}" if record.planned else ""
    return (
        record.folder.name,
        localized(record.state),
        str(facts["method"] or "?"),
        str(facts["model"] or "?"),
        f"{record.steps:,}{planned}",
        _loss(facts["train_loss"]),
        _loss(facts["eval_loss"]),
        *_result(facts["evaluation"]),
    )


def _result(evaluation: object) -> tuple[str, str]:
    """The first check's score of what was tuned, and the verdict's word."""
    found: dict[str, Any] = evaluation if isinstance(evaluation, dict) else {}
    checks = found.get("arms", {}).get("tuned", {}).get("checks", {})
    first: dict[str, Any] = next(iter(checks.values()), {})
    answer = str((found.get("verdict") or {}).get("answer") or "").replace("-tell", " tell")
    return "" if first.get("score") is None else percent(first["score"]), answer


@dataclass(frozen=True, slots=True)
class RunShown(Outcome):
    """What the files of a run say."""

    record: "RunRecord"

    def to_json(self) -> dict[str, object]:
        """What `runs show --json` prints."""
        record = self.record
        more = {"config": record.config, "losses": record.losses, "held_out": record.held_out}
        return {**record.to_json(), **more, "next": record.next_commands()}

    def show(self, console: "Console") -> None:
        """Its state, losses, evaluation, config and the commands that come next."""
        from tunesmith.api.results import show_evaluation

        record = self.record
        of = f"{record.steps:,} of " if record.planned else ""
        steps = of + pluralize(record.planned or record.steps, "step")
        state = f"{record.state} after {steps}, {pluralize(record.tokens, 'token')}"
        console.print(str(record.folder), style="bold", soft_wrap=True)
        line(console, state, style=_STATE_STYLES.get(record.state, ""))
        if record.losses:
            _show_series("training loss", list(record.losses), console)
        if record.held_out:
            _show_series("held-out loss", [loss for _, loss in record.held_out], console)
        evaluation = record.to_json()["evaluation"]
        if isinstance(evaluation, dict):
            show_evaluation(evaluation, console)
        for fact, values in (("result", [record.adapter]), ("checkpoints", record.checkpoints)):
            line(console, f"{fact}: {', '.join(str(v) for v in values if v) or 'none'}")
        show_notes(console, (*record.notices, *record.faults))
        line(console, "\nConfig", style="bold")
        import yaml

        text = yaml.safe_dump(dict(record.config), sort_keys=False, allow_unicode=True)
        console.print(sanitize(text), soft_wrap=True)
        show_next(console, record.next_commands(), title="Next")


def show_run(run: str | Path | Run, *, root: str | Path = "runs") -> RunShown:
    """One run, by its folder or its name below ``root``; RunError without one."""
    from tunesmith.runs.history import find_run

    return RunShown(find_run(str(folder_of(run)), Path(root)))


@dataclass(frozen=True, slots=True)
class Report(Outcome):
    """A page that was written."""

    page: Path

    def to_json(self) -> dict[str, object]:
        """What `report --json` prints."""
        return {"report": str(self.page)}

    def show(self, console: "Console") -> None:
        """Where it is."""
        line(console, f"{self.page}: open it in a browser.")


def write_report(run: str | Path | Run, *, language: str | None = None) -> Report:
    """Did it work? One HTML file, report.html in the folder of a run or a comparison.

    It loads nothing from anywhere. ``language``: en or ko; None: the locale's. Raises RunError for
    a folder that holds neither, UsageError for an unknown language.
    """
    from tunesmith.runs.folder import RunFolder
    from tunesmith.runs.inputs import COMPARISON

    if not (folder_of(run) / COMPARISON).is_file():
        RunFolder(folder_of(run)).require_run()
    # Heavy modules are imported after everything that can refuse at once.
    from tunesmith.report.writing import write_report as write

    return Report(write(folder_of(run), language=language))


def _show_series(name: str, values: list[float], console: "Console") -> None:
    numbers = f"{values[0]:.3f} -> {values[-1]:.3f}"
    lowest = f", lowest {min(values):.3f}" if min(values) < values[-1] else ""
    line(console, f"{name}: {sparkline(values)} {numbers}{lowest}")


def _loss(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else ""
