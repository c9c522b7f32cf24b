"""Does a run come out the same? Trained anew into another folder; or what differs already."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tunesmith.adapters.fit import of_files
from tunesmith.adapters.folder import recordable, recorded_files
from tunesmith.config import DataSettings, RunConfig
from tunesmith.config.methods import init_path
from tunesmith.core.errors import ModelError, RunError
from tunesmith.core.files import sha256_of
from tunesmith.core.progress import SILENT, Cancelled, Progress
from tunesmith.engine.device import set_up
from tunesmith.methods import table
from tunesmith.models.names import known_folder
from tunesmith.models.precision import detect_device, detect_dtype
from tunesmith.models.resolve import resolve
from tunesmith.runs.folder import RunFolder, read_lines
from tunesmith.runs.history import read_records
from tunesmith.runs.inputs import require_files
from tunesmith.runs.lock import (
    THREADS,
    Differing,
    differing,
    lock_of,
    named_as,
    pip_line,
    read_lock,
    unknown,
)
from tunesmith.runs.run import resume_run, train_run
from tunesmith.runs.summary import RunSummary, complete_summary
from tunesmith.training.steps import Plan

SUFFIX = "-again"
MAX_REPEATS = 1000
MEASURED = ("loss", "divergence", "grad_norm")  # of a step; losses in nats per supervised token


@dataclass(frozen=True, slots=True)
class RepeatOrder:
    """How a run is repeated: ``data`` and ``model`` lie elsewhere now, ``threads`` are not its own.

    ``out`` None: a folder beside the run's.
    """

    out: Path | None = None
    data: str | None = None
    model: str | None = None
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class FileHashes:
    """A file of the result: its SHA-256 when the run wrote it, and when it was repeated."""

    name: str
    then: str | None
    now: str | None


@dataclass(frozen=True, slots=True)
class PartedStep:
    """The first step in which one of ``MEASURED`` is another number; None: without that step."""

    step: int
    what: str
    then: float | None
    now: float | None


@dataclass(frozen=True, slots=True)
class Reproduced:
    """What a repeat found; ``out`` None and no ``files``: nothing was trained.

    ``differences`` are in what the bytes depend on; ``notes`` say what was set as it was then, and
    what is not known. ``install`` is the command for the versions that differ.
    """

    run: Path
    out: Path | None
    differences: tuple[Differing, ...]
    notes: tuple[str, ...]
    install: str
    files: tuple[FileHashes, ...] = ()
    parted: PartedStep | None = None
    verdicts: tuple[str, str] | None = None

    @property
    def same(self) -> bool | None:
        """Whether every file of the result has the same bytes; None where nothing was trained."""
        return all(each.then == each.now for each in self.files) if self.files else None

    def to_json(self) -> dict[str, object]:
        """What `reproduce --json` prints."""
        return {
            "run": str(self.run),
            "out": self.out and str(self.out),
            "same": self.same,
            "differences": [asdict(each) for each in self.differences],
            "files": [asdict(each) for each in self.files],
            "first_step": self.parted and asdict(self.parted),
            "verdicts": self.verdicts and {"then": self.verdicts[0], "now": self.verdicts[1]},
            "notes": list(self.notes),
            "install": self.install or None,
        }


def check_run(path: Path, order: RepeatOrder, *, progress: Progress = SILENT) -> Reproduced:
    """What differs already between this machine and the one that a run was trained on.

    Raises RunError for what is no run that has ended, and for one without any record of it.
    """
    _, found = _checked(RunFolder(path), order, progress)
    return found


def repeat_run(path: Path, order: RepeatOrder, *, progress: Progress = SILENT) -> Reproduced:
    """Train a run anew into another folder, and compare the results byte by byte.

    The run's folder is not written to. A repeat that was stopped is resumed, one that has ended is
    only compared. Raises what ``check_run`` raises, DataError and ModelError for rows and a base
    that are not here, and RunError where ``out`` holds another run.
    """
    folder = RunFolder(path)
    config, found = _checked(folder, order, progress)
    for each in found.differences:
        progress.notice("differs", each.text())
    out = order.out or _place_of(folder, config)
    summary = _trained(config, out, folder.read_plan(), progress)
    if summary.reason == "stopped":
        raise Cancelled("The repeat was stopped; what was saved before stays.", same_call=True)
    return _compared(found, folder, RunFolder(out))


def _checked(
    folder: RunFolder, order: RepeatOrder, progress: Progress
) -> tuple[RunConfig, Reproduced]:
    """The config of the repeat, and what differs before it."""
    folder.require_run()
    if complete_summary(folder, folder.read_config()) is None:
        raise RunError(
            f"{folder.path}: the run has not ended, so there is nothing to reproduce.",
            remedy=f"Resume it: tunesmith train --resume {folder.path}",
        )
    then = read_lock(folder)
    if then is None:
        raise RunError(
            f"{folder.path}: neither lock.json nor environment.json can be read: with what it was "
            "trained is not known.",
            remedy="Train it once more, and reproduce that run.",
        )
    config, notes = _config(folder, then, order)
    now = _lock_now(config, then, progress)
    found = Reproduced(
        run=folder.path,
        out=None,
        differences=tuple(differing(then, now)),
        notes=(*notes, *_notes(folder, then)),
        install=pip_line(then, now),
    )
    return config, found


def _config(
    folder: RunFolder, then: Mapping[str, Any], order: RepeatOrder
) -> tuple[RunConfig, list[str]]:
    """The run's config with what its lock can fix here, and what of that is worth knowing."""
    asked = folder.read_config()
    train: dict[str, object] = {"trackers": (), "tensorboard": False}
    changes: dict[str, object] = {"mirror": None}
    notes, wanted = [], then.get(THREADS)
    if order.threads is not None:
        train[THREADS] = order.threads
    elif asked.train.threads is None and isinstance(wanted, int):
        train[THREADS] = wanted
        if (here := torch.get_num_threads()) != wanted:
            notes.append(
                f"threads are set to {int(wanted)}, as then; by itself it would be {here} here"
            )
    if asked.dtype == "auto" and isinstance(then.get("dtype"), str):
        changes["dtype"] = then["dtype"]
    if asked.device == "auto" and then.get("device") == "cpu":
        changes["device"] = "cpu"
    if order.model is not None:
        changes["model"] = order.model
    elif _is_gone(asked.model) and (known := known_folder(str(then.get("base")))) is not None:
        changes["model"] = str(known)
    if order.data is not None:
        changes["data"] = _elsewhere(asked.data, order.data)
    changes["train"] = asked.train.model_copy(update=train)
    return asked.model_copy(update=changes), notes


def _elsewhere(settings: DataSettings, path: str) -> DataSettings:
    """The settings of the data for the same rows at another path."""
    if len(settings.sources) > 1:
        raise RunError(
            "The run has several sources of rows, and --data names one.",
            remedy="Put the files where they were; `--check` lists them.",
        )
    (source,) = settings.sources
    return settings.model_copy(update={"train": (source.model_copy(update={"path": path}),)})


def _is_gone(model: str) -> bool:
    path = Path(model).expanduser()
    return path.is_absolute() and not path.exists()


def _lock_now(config: RunConfig, then: Mapping[str, Any], progress: Progress) -> dict[str, object]:
    """The lock that the repeat would get."""
    device = detect_device(config.device)
    set_up(device)
    dtype, _ = detect_dtype(config.dtype, device)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    start = init_path(config.method) if table.of(config.method).trains_base else None
    try:
        base = resolve(start or config.model, progress=progress)
    except ModelError as error:
        raise ModelError(
            f"The base of the run is not here: {error.message}",
            remedy="Name the folder that it is in: --model FOLDER",
        ) from None
    require_files(config.data)
    now = lock_of(config, base, device=device, dtype=dtype)
    return {**now, "data": named_as(then.get("data"), now["data"])}


def _notes(folder: RunFolder, then: Mapping[str, Any]) -> Iterator[str]:
    """What may part the two although nothing that is known differs."""
    for names in then.get("resumed", ()):
        yield f"the run was resumed where something was different: {'; '.join(names)}"
    for name in unknown(then):
        yield f"{name} has no SHA-256: whether the hub holds the same rows is not known"
    if not folder.lock.is_file():
        yield "the run is of an earlier version, which recorded less of what its bytes depend on"


def _place_of(folder: RunFolder, config: RunConfig) -> Path:
    """RUN-again, with a number where that is taken by anything but this repeat, half done."""
    own = folder.path.resolve().name
    names = (f"{own}{SUFFIX}", *(f"{own}{SUFFIX}-{number}" for number in range(2, MAX_REPEATS)))
    places = [folder.path.absolute().with_name(name) for name in names]
    return next(
        (each for each in places if not each.exists() or _is_half(RunFolder(each), config)),
        places[-1],
    )


def _is_half(out: RunFolder, config: RunConfig) -> bool:
    """Whether the repeat has begun there and not ended."""
    return _is_repeat(out, config) and complete_summary(out, config) is None


def _is_repeat(out: RunFolder, config: RunConfig) -> bool:
    """Whether a folder holds a run of this config, whatever that is called."""
    if not out.config.is_file():
        return False
    there = out.read_config().model_copy(update={"out": config.out})
    return there.model_dump(mode="json") == config.model_dump(mode="json")


def _trained(config: RunConfig, out: Path, plan: Plan | None, progress: Progress) -> RunSummary:
    """The repeat in ``out``: begun, resumed, or as it ended."""
    if out.exists() and _is_repeat(RunFolder(out), config):
        return resume_run(out, progress=progress)
    return train_run(config.model_copy(update={"out": str(out)}), plan=plan, progress=progress)


def _compared(found: Reproduced, then: RunFolder, now: RunFolder) -> Reproduced:
    """The results of both beside each other."""
    old, new = _hashes(then.require_trained()), _hashes(now.require_trained())
    changed = [*of_files(then.require_trained(), fresh=True)]
    return replace(
        found,
        out=now.path,
        notes=(*found.notes, *(f"of the run itself, {each.message}" for each in changed)),
        files=tuple(
            FileHashes(name, old.get(name), new.get(name)) for name in sorted({**old, **new})
        ),
        parted=_first_parted(then, now),
        verdicts=_verdicts(then, now),
    )


def _hashes(trained: Path) -> Mapping[str, str]:
    """SHA-256 of each file of a result as it was written; of an earlier version as it is now."""
    recorded = recorded_files(trained)
    if recorded is not None:
        return recorded
    return {path.name: sha256_of(path) for path in recordable(trained)}


def _first_parted(then: RunFolder, now: RunFolder) -> PartedStep | None:
    """The first step that gave another number; None where all are the same."""
    old, new = (_steps(folder) for folder in (then, now))
    for step in sorted({**old, **new}):
        before, after = old.get(step, {}), new.get(step, {})
        for name in MEASURED:
            if before.get(name) != after.get(name):
                return PartedStep(step, name, before.get(name), after.get(name))
    return None


def _steps(folder: RunFolder) -> dict[int, dict[str, float]]:
    """What of each step depends on the tensors, by its number."""
    return {
        int(str(line["step"])): {name: float(str(line[name])) for name in MEASURED if name in line}
        for line in read_lines(folder.metrics)
    }


def _verdicts(then: RunFolder, now: RunFolder) -> tuple[str, str] | None:
    """The word of both verdicts; None without two evaluations."""
    words = [
        str((read_records(folder.path).evaluation.get("verdict") or {}).get("answer") or "")
        for folder in (then, now)
    ]
    return (words[0], words[1]) if all(words) else None
