"""The demo: a tour on the default model and small bundled rows, by the same calls as any run."""

from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path

from tunesmith.config import RunConfig
from tunesmith.config.load import read_yaml
from tunesmith.core.progress import SILENT, Cancelled, Progress
from tunesmith.evaluation.comparison import BASE, TUNED
from tunesmith.evaluation.intervals import Interval
from tunesmith.runs.folder import RunFolder, alone
from tunesmith.runs.run import train_run
from tunesmith.runs.summary import RunSummary

GOAL = "Answer a voice assistant's user with intent and slots as JSON"
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo shows: the deciding check before and after, and some answers."""

    summary: RunSummary
    check: str
    before: Interval
    after: Interval
    difference: Interval
    examples: tuple[tuple[str, str, str, str], ...]  # question, before, after, the data's answer
    next_commands: tuple[str, ...]


def demo_config(out: Path) -> RunConfig:
    """The demo's run: LoRA with its defaults, one pass over the bundled rows."""
    rows = Path(str(resources("tunesmith.setup") / "demo_data"))
    return RunConfig.model_validate(
        {
            "goal": GOAL,
            "data": {
                "train": str(rows / "train.jsonl"),
                "eval": str(rows / "held.jsonl"),
                "share": 0.4,
            },
            "train": {"epochs": 1, "tokens_per_step": 512},
            "evaluate": {
                "checks": [
                    {"kind": "label", "name": "intent", "field": "intent"},
                    {"kind": "json"},
                ],
                "rows": 60,
                "max_new_tokens": 60,
                "timed_rows": 2,
                "num_fewshot": 0,
                "forgetting": "default",
                "consistency": "none",
            },
            "out": str(out),
        }
    )


def demo(*, out: Path, progress: Progress = SILENT) -> DemoResult:
    """Train and evaluate the demo in ``out``; an earlier demo there is replaced.

    Raises RunError where ``out`` holds anything else, Cancelled where the run was stopped.
    """
    _make_room(out)
    summary = train_run(demo_config(out), progress=progress)
    if summary.answers is None:
        raise Cancelled(
            "The demo was stopped before its end. Resume it with `tunesmith train --resume "
            f"{out}`, or start it again."
        )
    answers = summary.answers
    first = answers.summary.checks[0]
    return DemoResult(
        summary=summary,
        check=first.name,
        before=first.arms[BASE],
        after=first.arms[TUNED],
        difference=first.differences[BASE],
        examples=tuple(
            (q.text, before, after, q.reference)
            for q, before, after in zip(
                answers.questions, answers.texts[BASE], answers.texts[TUNED], strict=True
            )
        )[:EXAMPLES],
        next_commands=(
            f"tunesmith chat {out}",
            f"tunesmith runs show {out}",
            "tunesmith init YOUR-DATA.jsonl",
            "tunesmith train tunesmith.yaml",
        ),
    )


def _make_room(out: Path) -> None:
    """Remove an earlier demo; whatever else lies there is left for train_run to refuse.

    Raises RunError where that demo is running.
    """
    folder = RunFolder(out)
    if folder.config.exists() and read_yaml(folder.config, warn=False).get("goal") == GOAL:
        with alone(out):
            folder.discard()
