"""How a run ended, and whether it has anything left to do."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from tunesmith.config import RunConfig
from tunesmith.core import files
from tunesmith.evaluation.answers import Answers
from tunesmith.runs.card import update_card
from tunesmith.runs.evaluation_files import REPORT
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.trackers import Trackers

IN_MEMORY = ("answers", "train_losses", "trackers")  # not in the document


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended; ``to_json`` is what `train --json` prints."""

    run: str
    adapter: str | None
    steps: int
    tokens: int
    train_loss: float
    eval_loss: float | None
    tokens_per_second: float | None  # None: too few steps to measure
    peak_bytes: int
    seconds: float
    evaluation: dict[str, object] | None = field(repr=False)
    reason: str
    notices: tuple[str, ...]
    plan: dict[str, object] | None = None  # what was predicted of the steps, and what they took
    answers: Answers | None = field(default=None, repr=False)
    # of rows, with the adapter as it was evaluated
    train_losses: Sequence[float] | None = field(default=None, repr=False)
    trackers: Trackers | None = field(default=None, repr=False)  # which wait for the page

    @property
    def report(self) -> str:
        """Its page."""
        return str(Path(self.run) / REPORT)

    def to_json(self) -> dict[str, object]:
        """The documented keys, and why the run ended."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in IN_MEMORY}
        return {**values, "notices": list(self.notices)}


def end_trackers(summary: RunSummary) -> None:
    """Give the result of a run that has ended to its trackers, its page included."""
    if summary.trackers is not None:
        summary.trackers.end(RunFolder(Path(summary.run)), summary.evaluation)


def write_summary(folder: RunFolder, summary: RunSummary) -> None:
    """Put it into the run's folder, and on the card of what was trained."""
    files.write_json(folder.summary, summary.to_json())
    update_card(folder)


def stopped_seconds(folder: RunFolder) -> float:
    """What a run took until it was last stopped, its evaluation too; 0 where it was not."""
    try:
        values = json.loads(folder.summary.read_text(encoding="utf-8"))
        return float(values["seconds"]) if values["reason"] == "stopped" else 0.0
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def complete_summary(folder: RunFolder, config: RunConfig) -> RunSummary | None:
    """How a run ended that has nothing left to do; None where its result or its answers lack."""
    found = folder.trained
    asks = bool(config.evaluate.checks and config.data.eval)
    try:
        values = json.loads(folder.summary.read_text(encoding="utf-8"))
        summary = RunSummary(**{**values, "notices": tuple(values["notices"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    answered = summary.evaluation is not None and folder.answers.exists()
    if summary.reason not in ("done", "early") or found is None or (asks and not answered):
        return None
    return replace(summary, run=str(folder.path), adapter=str(found))
