"""A run's folder: where each file lies, who may write to it, and how its files are written.

Of several ranks only the first writes; the others may have no such folder.
"""

import contextlib
import difflib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import NoReturn

import yaml

from tunesmith.config.load import load_run_config, merged, read_yaml
from tunesmith.config.run import RunConfig
from tunesmith.core import files, locks
from tunesmith.core.errors import RunError
from tunesmith.core.progress import Event, Phase
from tunesmith.core.ranks import is_first
from tunesmith.training.events import HeldOut, ScaledDown, StepDone
from tunesmith.training.steps import Plan

LOCK = ".lock"
# Of `train`, what runs of versions without it have.
WITHOUT: Mapping[str, object] = {
    "retention": "none",
    "average_steps": 0,
    "answer_rows": 0,
    "best_by": "loss",
}
RUNNING, EXISTS = "running", "exists"  # codes of errors


def alone(run: Path) -> AbstractContextManager[None]:
    """Hold the run in this folder; raises RunError where another process does.

    Of several ranks the first holds it for all.
    """

    def refuse() -> NoReturn:
        raise RunError(
            f"{run}: another process is working on this run.",
            remedy=f"Wait for it; `tunesmith runs show {run}` shows its progress.",
            code=RUNNING,
        )

    return locks.held(run / LOCK, taken=refuse) if is_first() else nullcontext()


def is_held(run: Path) -> bool:
    """Whether a process is working on the run in this folder."""
    return locks.is_held(run / LOCK)


def cannot_be_made(path: Path, error: OSError) -> RunError:
    """What a folder is refused for."""
    return RunError(
        f"{path} cannot be made: {error.strerror}.",
        remedy="Name another folder with --out.",
        code="file_system",
    )


class RunFolder:
    """The files of one run below ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.environment = path / "environment.json"
        self.lock = path / "lock.json"
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
        self.require_free()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with alone(self.path):
                self.require_free()  # another may have been faster
                files.sweep(self.path)
                self.write_config(config)
        except OSError as error:
            raise cannot_be_made(self.path, error) from error

    def write_config(self, config: Mapping[str, object]) -> None:
        """Keep the run's settings, in place of those that are there."""
        if not is_first():
            return
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        files.write_text(self.config, text)

    def read_config(self, overrides: Mapping[str, object] | None = None) -> RunConfig:
        """The run's settings, those of an earlier version too; ConfigError with every fault.

        What its version did not have, it stays without.
        """
        train = read_yaml(self.config, warn=False).get("train")
        known = train if isinstance(train, dict) else WITHOUT
        without = {"train": {key: none for key, none in WITHOUT.items() if key not in known}}
        return load_run_config(self.config, merged(without, overrides or {}), warn=False)

    def require_free(self) -> None:
        """Raise RunError for a place that holds something; what a kill left there is nothing."""
        if self.config.exists():
            raise RunError(
                f"{self.path} holds a run already.",
                remedy=f"Resume it with --resume {self.path}, or name another folder with --out.",
                code=EXISTS,
            )
        if self.path.exists() and not self.path.is_dir():
            raise RunError(
                f"{self.path} is a file, and a run takes a folder.",
                remedy="Name another one with --out.",
                code=EXISTS,
            )
        left = (LOCK, f"{files.TEMPORARY}{self.config.name}-")
        if self.path.exists() and not all(p.name.startswith(left) for p in self.path.iterdir()):
            raise RunError(
                f"{self.path} is not empty and holds no run.",
                remedy="Name another folder with --out.",
                code=EXISTS,
            )

    @property
    def is_begun(self) -> bool:
        """Whether a step was done, so that there is something to resume."""
        return self.checkpoints.exists() or any(read_lines(self.metrics))

    def discard(self) -> None:
        """Remove the run; of the working folder, or one that cannot be renamed, what is in it.

        It is renamed first: a process that asks whether the run is held creates its lock anew,
        which must not happen in a folder that is being removed.
        """
        path = self.path.absolute()
        removed = path.with_name(f"{files.TEMPORARY}{path.name}")
        shutil.rmtree(removed, ignore_errors=True)
        gone = [removed]
        with contextlib.suppress(OSError):  # the folder above is not ours, or this one is mounted
            gone = list(path.iterdir())
            if path != Path.cwd():
                path.rename(removed)
                gone = [removed]
        for each in gone:
            shutil.rmtree(each, ignore_errors=True)
            with contextlib.suppress(OSError):
                each.unlink(missing_ok=True)

    def write_plan(self, plan: Plan) -> None:
        """Keep what was decided before the first step."""
        if is_first():
            files.write_json(self.plan, asdict(plan))

    def read_plan(self) -> Plan | None:
        """The plan of an interrupted run; None where it had none yet."""
        if not self.plan.exists():
            return None
        values = json.loads(self.plan.read_text(encoding="utf-8"))
        known = {field.name for field in fields(Plan)}
        return Plan(**{name: value for name, value in values.items() if name in known})

    def held_out_losses(self) -> dict[int, float]:
        """By step, in nats per supervised token; of a step that was repeated the newer one."""
        return {
            int(str(line["step"])): float(str(line["loss"]))
            for line in read_lines(self.events)
            if line["event"] == HeldOut.name
        }

    def token_accuracies(self) -> dict[int, float]:
        """The share of held-out tokens that were right, by step, as far as they were counted."""
        return {
            int(str(line["step"])): float(str(line["token_accuracy"]))
            for line in read_lines(self.events)
            if line["event"] == HeldOut.name and line.get("token_accuracy") is not None
        }

    def passed(self) -> dict[int, float]:
        """The share of training rows that were answered well at held-out losses, by step."""
        return {
            int(str(line[step])): float(str(line[passed]))
            for line in read_lines(self.events)
            for step, passed in (("best_step", "best_passed"), ("step", "passed"))
            if line["event"] == HeldOut.name and line.get(passed) is not None
        }

    def peak_bytes(self) -> int:
        """Largest memory that a step took, in whichever process it was done; 0 without steps."""
        return max((int(str(line["peak_bytes"])) for line in read_lines(self.metrics)), default=0)

    @property
    def trained(self) -> Path | None:
        """The folder of the result: an adapter, or a whole model; None before there is one."""
        return next((path for path in (self.adapter, self.model) if path.is_dir()), None)

    def require_run(self) -> None:
        """Raise RunError where no run lies here."""
        if not self.config.is_file():
            raise RunError(f"{self.path} holds no run (no config.yaml).", remedy=self._others())

    def _others(self) -> str:
        """The run beside this folder that was meant, as far as its name shows."""
        runs = {each.parent.name for each in self.path.parent.glob(f"*/{self.config.name}")}
        if near := difflib.get_close_matches(self.path.name, sorted(runs), n=1):
            return f"Did you mean {self.path.parent / near[0]}?"
        return "`tunesmith runs list` shows them."

    def require_trained(self) -> Path:
        """``trained``; raises RunError where there is none yet."""
        if (found := self.trained) is None:
            raise RunError(
                f"{self.path}: the run has no result yet: there is neither adapter/ nor model/ "
                "in it.",
                remedy=f"Resume it: tunesmith train --resume {self.path}",
            )
        return found

    @property
    def is_scaled_down(self) -> bool:
        """Whether the result is less than what training reached."""
        found = self.last(ScaledDown)
        return found is not None and found["share"] != 1

    def last(self, kind: type[Event]) -> dict[str, object] | None:
        """The last event of a kind, its values by name."""
        lines = read_lines(self.events)
        found = [line for line in lines if line.pop("event", None) == kind.name]
        return found[-1] if found else None

    def cut(self, step: int) -> None:
        """Forget metrics of steps after ``step``, and lines that were cut off in the middle."""
        if not is_first():
            return
        lines = [line for line in read_lines(self.metrics) if int(str(line["step"])) <= step]
        _rewrite(self.metrics, lines)
        _rewrite(self.events, read_lines(self.events))

    def record(self, event: Event) -> None:
        """Append a step to metrics.jsonl, another event to events.jsonl; progress to neither."""
        if isinstance(event, Phase) or not is_first():
            return
        values: dict[str, object] = asdict(event)
        if isinstance(event, StepDone):
            values.pop("seconds_left")
            values.pop("steps")
            if event.divergence is None:
                values.pop("divergence")
            _append(self.metrics, values)
        else:
            _append(self.events, {"event": event.name, **values})


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
            remedy="Free space, then continue with --resume.",
            code="disk",
        ) from error


def read_lines(path: Path, faults: list[str] | None = None) -> Iterator[dict[str, object]]:
    """The complete JSON lines of a file; none where it is missing.

    ``faults`` takes what cannot be read, which else is an OSError or skipped; not a last line that
    is half written, as after a kill.
    """
    if not path.exists():
        return
    text = read_text(path, faults) if faults is not None else path.read_text("utf-8", "replace")
    lines = text.rstrip("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line or "null")
        except ValueError:
            if faults is not None and number < len(lines):
                faults.append(f"{path}:{number}: not valid JSON")
            continue
        if isinstance(value, dict):
            yield value


def read_text(path: Path, faults: list[str]) -> str:
    """The text of a file; "" with one more of the ``faults`` where it cannot be read."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError as error:
        faults.append(f"{path}: cannot be read: {error.strerror}")
        return ""
