"""What an evaluation takes from a run's folder, and what it leaves there."""

import json
import math

from tunesmith.config.methods import MethodSettings
from tunesmith.core import files
from tunesmith.evaluation.assessment import Evaluation
from tunesmith.evaluation.checkpoints import CheckpointChoice
from tunesmith.evaluation.forgetting import AdapterScale
from tunesmith.evaluation.overfitting_evidence import Curves, Rate, TrainingHistory
from tunesmith.methods import table
from tunesmith.runs.evaluated import KEY
from tunesmith.runs.folder import RunFolder, read_lines
from tunesmith.training.events import BestCheckpoint, ScaledDown

REPORT = "report.html"


def training_history(
    folder: RunFolder, method: MethodSettings, *, width: int, broken: bool = False
) -> TrainingHistory:
    """From metrics, events and plan; ``width`` is the base's, ``broken`` that the loss broke it."""
    steps = list(read_lines(folder.metrics))
    losses = [float(str(step["loss"])) for step in steps]
    held = folder.held_out_losses()
    chosen, scale = folder.last(BestCheckpoint), folder.last(ScaledDown)
    plan = folder.read_plan()
    usual = table.learning_rate(method.kind, width)
    return TrainingHistory(
        Curves(losses, sorted(held.items()), broken or not all(map(math.isfinite, losses))),
        int(str(steps[-1]["tokens"])) if steps else 0,
        Rate(plan.lr, usual) if plan else None,
        CheckpointChoice.from_json(chosen) if chosen else None,
        AdapterScale(**scale) if scale else None,  # type: ignore[arg-type]
    )


def write_evaluation(
    evaluation: Evaluation | None, folder: RunFolder, *, inputs: str | None
) -> None:
    """Put document and answers into a folder, each file complete or as it was.

    The document names the page that `write_report` makes of it, and has ``inputs``, the SHA-256 of
    what it rests on (`evaluated.inputs_sha256`), where that is known.
    """
    if evaluation is not None:
        evaluation.document["report"] = str(folder.path / REPORT)
        if inputs is not None:
            evaluation.document[KEY] = inputs
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in evaluation.answers.rows()]
        files.write_text(folder.answers, "".join(lines))
        files.write_json(folder.evaluation, evaluation.document)


def update_summary(evaluation: dict[str, object] | None, folder: RunFolder) -> None:
    """Write this evaluation into the run's summary, if there is one."""
    summary = _summary(folder)
    if summary is not None:
        files.write_json(folder.summary, {**summary, "evaluation": evaluation})


def training_seconds(folder: RunFolder) -> float | None:
    """About how long a run's steps took, by its speed; None where that is not known."""
    summary = _summary(folder) or {}
    tokens, speed = summary.get("tokens"), summary.get("tokens_per_second")
    if not isinstance(tokens, int | float) or not isinstance(speed, int | float) or not speed:
        return None
    return tokens / speed


def _summary(folder: RunFolder) -> dict[str, object] | None:
    try:
        found = json.loads(folder.summary.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
