"""How a run ended, and whether it has anything left to do."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from tunesmith.config import RunConfig
from tunesmith.evaluation.answers import Answers
from tunesmith.runs.evaluation_files import REPORT
from tunesmith.runs.folder import RunFolder


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended; ``to_json`` is what `train --json` prints."""

    run: str
    adapter: str | None
    steps: int
    tokens: int
    train_loss: float
    eval_loss: float | None
    tokens_per_second: float | None  # None: too few steps to tell
    peak_bytes: int
    seconds: float
    evaluation: dict[str, object] | None
    reason: str
    notices: tuple[str, ...]
    answers: Answers | None = None

    @property
    def report(self) -> str:
        """Its page."""
        return str(Path(self.run) / REPORT)

    def to_json(self) -> dict[str, object]:
        """The documented keys, and why the run ended."""
        return {
            "run": self.run,
            "adapter": self.adapter,
            "steps": self.steps,
            "tokens": self.tokens,
            "train_loss": self.train_loss,
            "eval_loss": self.eval_loss,
            "tokens_per_second": self.tokens_per_second,
            "peak_bytes": self.peak_bytes,
            "seconds": self.seconds,
            "evaluation": self.evaluation,
            "reason": self.reason,
            "notices": list(self.notices),
        }


def complete_summary(folder: RunFolder, config: RunConfig) -> RunSummary | None:
    """How a run ended that has nothing left to do; None where its result or its answers lack."""
    found = next((path for path in (folder.adapter, folder.model) if path.is_dir()), None)
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
