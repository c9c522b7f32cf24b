"""A run's folder: where each file lies, and how config, metrics and events are written."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import yaml

from tunesmith import files
from tunesmith.errors import RunError
from tunesmith.train.batches import Plan
from tunesmith.train.events import Event, HeldOut, Progress, StepDone, Weakened
from tunesmith.train.run_lock import LOCK, alone


class RunFolder:
    """The files of one run below ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.plan = path / "plan.json"
        self.metrics = path / "metrics.jsonl"
        self.events = path / "events.jsonl"
        self.checkpoints = path / "checkpoints"
        self.adapter = path / "adapter"
        self.model = path / "model"
        self.summary = path / "summary.json"
        self.evaluation = path / "evaluation.json"
        self.answers = path / "answers.jsonl"

    def create(self, config: Mapping[str, object]) -> None:
        """Make the folder with its config; RunError where another run lies there."""
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        self.require_free()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with alone(self.path):
                self.require_free()  # another may have been faster
                files.sweep(self.path)
                files.write_text(self.config, text)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be made: {error.strerror}.",
                remedy="Name another folder with --out.",
                code="file_system",
            ) from error

    def require_free(self) -> None:
        """Raise RunError for a place that holds something; what a kill left there is nothing."""
        if self.config.exists():
            raise RunError(
                f"{self.path} holds a run already.",
                remedy=f"Go on with it by --resume {self.path}, or name another folder with --out.",
                code="exists",
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunError(
                f"{self.path} is a file, and a run takes a folder.",
                remedy="Name another one with --out.",
                code="exists",
            )
        left = (LOCK, f"{files.TEMPORARY}{self.config.name}-")
        if self.path.exists() and not all(p.name.startswith(left) for p in self.path.iterdir()):
            raise RunError(
                f"{self.path} is not empty and holds no run.",
                remedy="Name another folder with --out.",
                code="exists",
            )

    def discard_unless_begun(self) -> None:
        """Remove a run that was refused before it did a step: there is nothing to go on with."""
        if not self.checkpoints.exists() and not any(read_lines(self.metrics)):
            shutil.rmtree(self.path)

    def write_plan(self, plan: Plan) -> None:
        """Keep what was decided before the first step."""
        files.write_json(self.plan, plan.to_json())

    def read_plan(self) -> Plan | None:
        """The plan of an interrupted run; None where it had none yet."""
        if not self.plan.exists():
            return None
        return Plan.from_json(json.loads(self.plan.read_text(encoding="utf-8")))

    def held_out_losses(self) -> dict[int, float]:
        """By step, in nats per supervised token; what a resumed run told twice stands once."""
        return {
            int(str(line["step"])): float(str(line["loss"]))
            for line in read_lines(self.events)
            if line["event"] == HeldOut.__name__.lower()
        }

    def peak_bytes(self) -> int:
        """Largest memory that a step took, in whichever process it was done; 0 without steps."""
        return max((int(str(line["peak_bytes"])) for line in read_lines(self.metrics)), default=0)

    @property
    def is_weakened(self) -> bool:
        """Whether the result is less than what training reached."""
        found = self.last(Weakened)
        return found is not None and found["share"] != 1

    def last(self, kind: type) -> dict[str, object] | None:
        """The last event of a kind, its values by name."""
        name = kind.__name__.lower()
        found = [line for line in read_lines(self.events) if line.pop("event", None) == name]
        return found[-1] if found else None

    def cut(self, step: int) -> None:
        """Forget metrics of steps after ``step``, and lines that were cut off in the middle."""
        lines = [line for line in read_lines(self.metrics) if int(str(line["step"])) <= step]
        _rewrite(self.metrics, lines)
        _rewrite(self.events, read_lines(self.events))

    def record(self, event: Event) -> None:
        """Append a step to metrics.jsonl, another event to events.jsonl; progress to neither."""
        if isinstance(event, Progress):
            return
        values: dict[str, object] = asdict(event)
        if isinstance(event, StepDone):
            values.pop("seconds_left")
            values.pop("steps")
            _append(self.metrics, values)
        else:
            _append(self.events, {"event": type(event).__name__.lower(), **values})


def _rewrite(path: Path, lines: Iterable[Mapping[str, object]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    if text or path.exists():
        files.write_text(path, text)


def _append(path: Path, values: Mapping[str, object]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, ensure_ascii=False) + "\n")
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written: {error.strerror}.",
            remedy="Free space, then go on with --resume.",
            code="disk",
        ) from error


def read_lines(path: Path) -> Iterator[dict[str, object]]:
    """The complete JSON lines of a file; none where it is missing."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
