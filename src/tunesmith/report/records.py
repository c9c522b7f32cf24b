"""What a run's folder holds for its page: one look at every file that is there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tunesmith.errors import RunError
from tunesmith.train.run_folder import RunFolder, read_lines

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

    @property
    def notices(self) -> list[str]:
        """What was noticed, each text once."""
        texts = (str(e.get("message")) for e in self.events if e.get("event") == "notice")
        return list(dict.fromkeys(texts))


def read_records(path: Path) -> Records:
    """Raises RunError for a folder without a run, and without an evaluation alone."""
    folder = RunFolder(path)
    evaluation = _document(folder.evaluation)
    if folder.config.is_file():
        text = folder.config.read_text(encoding="utf-8")
    elif evaluation:
        text = yaml.safe_dump(_asked_for(evaluation), sort_keys=False, allow_unicode=True)
    else:
        raise RunError(
            f"{path} holds no run (no config.yaml).", remedy="`tunesmith runs list` shows them."
        )
    return Records(
        path=path,
        config=yaml.safe_load(text) or {},
        config_text=text,
        environment=_document(folder.environment),
        summary=_document(folder.summary),
        evaluation=evaluation,
        metrics=list(read_lines(folder.metrics)),
        events=list(read_lines(folder.events)),
        answers=list(read_lines(folder.answers)),
    )


def _asked_for(evaluation: Document) -> dict[str, Any]:
    """As much of a config as an evaluation tells that was written somewhere else."""
    about = dict(evaluation.get("about") or {})
    method, held = about.pop("method", None), about.pop("data", None)
    return {**about, "method": {"kind": method}, "data": {"eval": held}}


def _document(path: Path) -> Document:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(
            f"{path}: cannot be read: {error}.",
            remedy="`tunesmith evaluate RUN` writes the evaluation again.",
        ) from error
    return found if isinstance(found, Mapping) else {}
