"""Which runs exist, how far is each, and what is in its files?"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunesmith.config.renamed import with_new_names
from tunesmith.core import yaml_text
from tunesmith.core.errors import RunError
from tunesmith.runs.folder import RunFolder, is_held, read_lines, read_text

CONFIG = "config.yaml"
Values = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as its folder shows it.

    ``state`` is running, done, early, stopped, failed (on a loss, or out of memory) or interrupted.

    ``steps`` are done, of ``planned`` (None before the first plan); ``losses`` holds one training
    loss a step, ``held_out`` the steps and losses of evaluations.
    """

    folder: Path
    state: str
    config: Values
    steps: int
    planned: int | None
    tokens: int
    losses: tuple[float, ...]
    held_out: tuple[tuple[int, float], ...]
    notices: tuple[str, ...]
    checkpoints: tuple[str, ...]
    adapter: Path | None
    summary: Values | None
    faults: tuple[str, ...]

    @property
    def can_resume(self) -> bool:
        """Whether `train --resume` has something left to do."""
        return self.state in ("stopped", "failed", "interrupted")

    def next_commands(self) -> list[str]:
        """The exact commands that can be typed next."""
        folder = shlex.quote(str(self.folder))
        resume = [f"tunesmith train --resume {folder}"] if self.can_resume else []
        return [*resume, *([f"tunesmith chat {folder}"] if self.adapter is not None else [])]

    def to_json(self) -> dict[str, object]:
        """The record as one JSON object; the series of losses is in metrics.jsonl."""
        summary = self.summary or {}
        method, data = _mapping(self.config.get("method")), _mapping(self.config.get("data"))
        return {
            "run": str(self.folder),
            "state": self.state,
            "method": method.get("kind"),
            "model": self.config.get("model"),
            "data": data.get("train"),
            "goal": self.config.get("goal"),
            "steps": self.steps,
            "planned_steps": self.planned,
            "tokens": self.tokens,
            "train_loss": summary.get("train_loss", self.losses[-1] if self.losses else None),
            "eval_loss": summary.get("eval_loss", self.held_out[-1][1] if self.held_out else None),
            "evaluation": summary.get("evaluation"),
            "adapter": self.adapter and str(self.adapter),
            "checkpoints": list(self.checkpoints),
            "notices": list(self.notices),
            "faults": list(self.faults),
        }


def list_runs(root: Path) -> list[RunRecord]:
    """Every run below ``root``, by name; folders that hold no run are left out.

    Raises RunError where ``root`` cannot be read.
    """
    try:
        if not root.is_dir():
            return []
        next(root.iterdir(), None)  # a pattern finds nothing in what it may not read
    except OSError as error:
        raise RunError(
            f"{root}: cannot be read: {error.strerror}.",
            remedy="Fix the folder's permissions, or name another with --root.",
            code="file_system",
        ) from error
    folders = sorted(path.parent for path in root.glob(f"*/{CONFIG}"))
    return [read_run(folder) for folder in folders]


def find_run(name: str, root: Path) -> RunRecord:
    """The run in this folder, or of this name below ``root``; raises RunError without one."""
    for folder in (Path(name), root / name):
        if (folder / CONFIG).is_file():
            return read_run(folder)
    known = [record.folder.name for record in list_runs(root)]
    there = f"{root} holds the runs {', '.join(known)}." if known else f"{root} holds no runs."
    raise RunError(
        f"{name} is not a run: there is no {Path(name) / CONFIG}.", remedy=there, code="no_run"
    )


def read_run(folder: Path) -> RunRecord:
    """The content of a run's files; ``faults`` names what is damaged or half written."""
    faults: list[str] = []
    files = RunFolder(folder)
    config = with_new_names(_yaml(files.config, faults), warn=False)
    metrics = list(read_lines(files.metrics, faults))
    events = list(read_lines(files.events, faults))
    summary = _json(files.summary, faults)
    steps = max((_int(line.get("step")) for line in metrics), default=0)
    plans = [line for line in events if line.get("event") == "planned"]
    return RunRecord(
        folder=folder,
        state="running" if is_held(folder) else _state(summary, steps, events),
        config=config,
        steps=steps,
        planned=_int(plans[-1].get("steps")) if plans else None,
        tokens=max((_int(line.get("tokens")) for line in metrics), default=0),
        losses=tuple(loss for line in metrics if (loss := _float(line.get("loss"))) is not None),
        held_out=tuple(sorted(_held_out(events).items())),
        notices=tuple(_notices(events)),
        checkpoints=tuple(sorted(p.name for p in files.checkpoints.glob("[!.]*") if p.is_dir())),
        adapter=files.trained,
        summary=summary,
        faults=tuple(faults),
    )


def _state(summary: Values | None, steps: int, events: Sequence[Values]) -> str:
    """A summary of fewer steps than were done is of an earlier part of a resumed run."""
    if summary is None or _int(summary.get("steps")) < steps:
        turns = [line for line in events if line.get("event") in ("planned", "ended")]
        return "failed" if turns and turns[-1].get("reason") == "failed" else "interrupted"
    return str(summary.get("reason", "done"))


def _held_out(events: Sequence[Values]) -> dict[int, float]:
    """Each step's newest held-out loss: a resumed run measures some steps again."""
    lines = (line for line in events if line.get("event") == "heldout")
    found = {_int(line.get("step")): _float(line.get("loss")) for line in lines}
    return {step: loss for step, loss in found.items() if loss is not None}


def _notices(events: Sequence[Values]) -> list[str]:
    """What was noticed, each text once."""
    texts = (str(e.get("message")) for e in events if e.get("event") == "notice")
    return list(dict.fromkeys(texts))


def _json(path: Path, faults: list[str]) -> Values | None:
    """The JSON object in a file; None where it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        value = json.loads(read_text(path, faults))
    except ValueError as error:
        faults.append(f"{path}: not valid JSON: {error}")
        return None
    return value if isinstance(value, dict) else None


def _yaml(path: Path, faults: list[str]) -> Values:
    try:
        return _mapping(yaml_text.read(read_text(path, faults)))
    except yaml.YAMLError as error:
        faults.append(f"{path}: not valid YAML: {getattr(error, 'problem', error)}")
        return {}


def _mapping(value: object) -> Values:
    return value if isinstance(value, Mapping) else {}


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Records:
    """A run's files as they are; what has not been written yet is empty."""

    path: Path
    config: Document
    config_text: str
    environment: Document
    summary: Document
    evaluation: Document
    metrics: Sequence[Document]
    events: Sequence[Document]
    answers: Sequence[Document]

    @property
    def held_out(self) -> list[Document]:
        """The held-out losses, each with its step."""
        return [event for event in self.events if event.get("event") == "heldout"]

    def notices_of(self, code: str) -> list[str]:
        """What was noticed of one kind, each text once."""
        return _notices([event for event in self.events if event.get("code") == code])

    @property
    def notices(self) -> list[str]:
        """What was noticed, each text once."""
        return _notices(self.events)


def read_records(path: Path) -> Records:
    """Raises RunError for a folder with neither a run nor an evaluation."""
    folder = RunFolder(path)
    evaluation = _document(folder.evaluation)
    if evaluation and not folder.config.is_file():
        text = yaml.safe_dump(_config_of(evaluation), sort_keys=False, allow_unicode=True)
    else:
        folder.require_run()
        text = folder.config.read_text(encoding="utf-8")
    return Records(
        path=path,
        config=with_new_names(yaml_text.read(text) or {}, warn=False),
        config_text=text,
        environment=_document(folder.environment),
        summary=_document(folder.summary),
        evaluation=evaluation,
        metrics=list(read_lines(folder.metrics)),
        events=list(read_lines(folder.events)),
        answers=list(read_lines(folder.answers)),
    )


def _config_of(evaluation: Document) -> dict[str, Any]:
    """As much of a config as an evaluation holds that was written somewhere else."""
    about = dict(evaluation.get("about") or {})
    method, held = about.pop("method", None), about.pop("data", None)
    asked = {**about, "method": {"kind": method}, "data": {"eval": held}}
    return with_new_names(asked, warn=False)


def _document(path: Path) -> Document:
    faults: list[str] = []
    found = _json(path, faults)
    if faults:
        raise RunError(
            f"{faults[0]}.", remedy="`tunesmith evaluate RUN` writes the evaluation again."
        )
    return found or {}
