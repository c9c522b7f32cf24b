"""Other programs that show a run's curves, verdict and files: one module each, named in a table.

A tracker gets what the run's folder has, and can never end a run: its first failure is reported,
and it gets nothing more.
"""

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tunesmith.core.errors import ConfigError
from tunesmith.core.extras import require
from tunesmith.core.progress import Event, Notice
from tunesmith.runs.folder import RunFolder
from tunesmith.training.events import HeldOut, StepDone

PROJECT = "tunesmith"
# Of these the module `runs.trackers.NAME` has a `start(Started) -> Tracker`.
TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")
CURVES = ("lr", "grad_norm", "tokens_per_second")


@dataclass(frozen=True, slots=True)
class Started:
    """A run that begins, or is resumed: its folder, its name, and its config as flat keys."""

    folder: Path
    name: str
    config: Mapping[str, object]


class Tracker(Protocol):
    """What a module of the table makes of its program."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves after an optimizer step."""

    def end(
        self, values: Mapping[str, float], tags: Mapping[str, str], files: Sequence[Path]
    ) -> None:
        """The result: its numbers and words, and files and folders to keep with it."""


@dataclass(slots=True)
class Trackers:
    """The trackers of a run that still work; ``emit`` hears of one that does not."""

    emit: Callable[[Event], None]
    working: dict[str, Tracker]

    def event(self, event: Event) -> None:
        """Pass on the points of curves that an event has."""
        if isinstance(event, StepDone):
            values = {"loss/train": event.loss, **{name: getattr(event, name) for name in CURVES}}
            if event.divergence is not None:
                values["divergence"] = event.divergence
        elif isinstance(event, HeldOut):
            values = {"loss/held_out": event.loss}
            if event.token_accuracy is not None:
                values["token_accuracy/held_out"] = event.token_accuracy
        else:
            return
        self._each("its curves", lambda tracker: tracker.log(values, event.step))

    def end(self, folder: RunFolder, evaluation: Mapping[str, Any] | None) -> None:
        """The verdict, the scores, and what a reader of the result wants of the run's folder."""
        files = [folder.evaluation, folder.answers, folder.path / "report.html", folder.config]
        trained = folder.trained
        there = [path for path in files if path.is_file()] + ([trained] if trained else [])
        values, tags = dict(_numbers(evaluation or {})), dict(_words(evaluation or {}))
        self._each("the result", lambda tracker: tracker.end(values, tags, there))

    def _each(self, what: str, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.working.items()):
            try:
                with _aside():
                    call(tracker)
            except Exception as error:  # whatever it is: the run is not its own
                del self.working[name]
                why = f"{type(error).__name__}: {error}"
                text = f"{name} could not take {what} and gets no more; the run continues ({why})"
                self.emit(Notice("tracker", text))


def start_trackers(
    names: Sequence[str],
    folder: RunFolder,
    config: Mapping[str, object],
    *,
    emit: Callable[[Event], None],
) -> Trackers:
    """Begin a run in each of these programs; ConfigError where one is not installed.

    One that is installed and cannot begin is reported, and left out.
    """
    trackers = Trackers(emit, {})
    started = Started(folder.path, folder.path.name, dict(_flat(config)))
    for name in dict.fromkeys(names):
        require(name, name, ConfigError, what=f"train.trackers: {name}")
        try:
            with _aside():
                module = importlib.import_module(f"{__name__}.{name}")
                trackers.working[name] = module.start(started)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            emit(Notice("tracker", f"{name} could not begin and is left out ({why})"))
    return trackers


def _aside() -> AbstractContextManager[object]:
    """What these programs print goes to standard error: standard output is the command's own."""
    return contextlib.redirect_stdout(sys.stderr)


def add_files(artifact: Any, files: Sequence[Path]) -> Any:
    """The artifact, of a library with W&B's names, with these files and folders."""
    for path in files:
        if path.is_dir():
            artifact.add_dir(str(path), name=path.name)
        else:
            artifact.add_file(str(path))
    return artifact


def _flat(values: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """`train.lr` and its value, of nested settings."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _numbers(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Scores of every arm, and what the probes lost."""
    for arm, each in (evaluation.get("arms") or {}).items():
        for check, score in each["checks"].items():
            if score.get("score") is not None:
                yield f"score/{check}/{arm}", float(score["score"])
    for probe in evaluation.get("forgetting") or ():
        yield f"elsewhere/{probe['probe']}", float(probe["difference"])


def _words(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The answers of the verdict and its text."""
    verdict = evaluation.get("verdict") or {}
    for name, value in (
        ("verdict", verdict.get("answer")),
        ("skill", (verdict.get("skill") or {}).get("answer")),
        ("elsewhere", (verdict.get("elsewhere") or {}).get("answer")),
        ("verdict_text", verdict.get("text")),
    ):
        if value is not None:
            yield name, str(value)
