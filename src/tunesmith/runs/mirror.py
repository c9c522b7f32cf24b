"""A copy of a run's folder in object storage, from which another machine resumes it.

Storage has no renames: what makes a checkpoint or a run complete is written after all else of it,
and removed first. So a copy that was cut off is an older state of the run, and never half of one.
"""

import contextlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

from tunesmith.config.run import RunConfig
from tunesmith.core import files, yaml_text
from tunesmith.core.errors import ConfigError, RunError, StorageError
from tunesmith.core.progress import Event, Progress
from tunesmith.core.remote import open_storage, reported, require_inside, sizes_below
from tunesmith.runs.folder import RunFolder, is_held
from tunesmith.training import checkpoint
from tunesmith.training.events import Planned, Saved

# In the run's folder: the URL, and the size and time of each file when it was copied.
RECORD = ".mirror.json"
_STATE = re.compile(rf"checkpoints/step-\d+/{checkpoint.STATE}")
_LAST = ("config.yaml", "summary.json")  # what makes it a run, and a complete one
_STEP = re.compile(r"checkpoints/step-\d+/")


class Mirror:
    """The copy at ``url`` of the run in ``folder``."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url

    def on_event(self, event: Event, progress: Progress) -> None:
        """Copy where an event makes it due: what cannot be copied then is reported and tried later.

        Before the first step it raises RunError instead.
        """
        if isinstance(event, Planned):
            self.push()
        elif isinstance(event, Saved):
            self.try_push(progress)

    def try_push(self, progress: Progress, *, is_last: bool = False) -> None:
        """``push``, a failure of which is reported and does not end the run."""
        again = (
            f"`tunesmith train --resume {self.folder}` copies it again"
            if is_last
            else "the next checkpoint tries again"
        )
        try:
            self.push()
        except StorageError as error:
            progress.notice("mirror", f"{error.message} The run's folder is not copied; {again}")

    def remove(self) -> None:
        """Remove what was copied; what others put there stays. Raises StorageError."""
        system, path = open_storage(self.url)
        with reported(self.url, "written"):
            there = sizes_below(system, path)
            for name in sorted(self._record().keys() & there.keys(), key=_order, reverse=True):
                system.rm_file(f"{path}/{name}")

    def push(self) -> None:
        """Copy what is new or changed, and remove what was copied and is gone.

        Raises StorageError.
        """
        system, path = open_storage(self.url)
        local, record = _local(self.folder), self._record()
        with reported(self.url, "written"):
            there = sizes_below(system, path)
            changed = [
                name
                for name, state in local.items()
                if state != record.get(name) or there.get(name) != state[0]
            ]
            for name in sorted(changed, key=_order):
                system.put_file(str(self.folder / name), f"{path}/{name}")
            gone = [name for name in record if name not in local and name in there]
            for name in sorted(gone, key=_order, reverse=True):
                system.rm_file(f"{path}/{name}")
        self._write_record(local)

    def _record(self) -> dict[str, tuple[int, int]]:
        """Size and time of each file when it was copied; empty for a copy elsewhere."""
        try:
            values = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        copied = values["files"] if values.get("url") == self.url else {}
        return {name: (size, time) for name, (size, time) in copied.items()}

    def _write_record(self, local: dict[str, tuple[int, int]]) -> None:
        files.write_json(self.folder / RECORD, {"url": self.url, "files": local})


def require_free(config: RunConfig) -> None:
    """Raise RunError where a new run's mirror holds anything, StorageError if that is unknown."""
    if config.mirror is None:
        return
    system, path = open_storage(config.mirror)
    with reported(config.mirror, "read"):
        there = sizes_below(system, path)
    if there:
        is_run = "config.yaml" in there
        resume = f"Resume it with --resume {config.mirror}, or name" if is_run else "Name"
        raise RunError(
            f"{config.mirror} holds {'a run' if is_run else 'files'} already.",
            remedy=f"{resume} another place with --mirror.",
            code="exists",
        )


def withdraw(config: RunConfig, folder: Path) -> None:
    """Free the mirror of a run that was refused before its first step.

    What fails here is not reported, as the user reads why the run was refused.
    """
    if config.mirror is not None:
        with contextlib.suppress(StorageError):
            Mirror(folder, config.mirror).remove()


def copy_ended(folder: Path, progress: Progress) -> None:
    """Copy a run that has ended, its page too, to its mirror, if it has one."""
    run = RunFolder(folder)
    url = run.read_config().mirror if run.config.is_file() else None
    if url is not None:
        Mirror(folder, url).try_push(progress, is_last=True)


def pulled(url: str, progress: Progress) -> Path:
    """The folder of the run at ``url``, copied here unless it is here already, and newer.

    Raises RunError where there is no run, or another one is in the way, and StorageError.
    """
    url = url.rstrip("/")
    system, path = open_storage(url)
    with reported(url, "read"):
        there = _complete(sizes_below(system, path))
        require_inside(url, there)
        if "config.yaml" not in there:
            raise RunError(
                f"{url} holds no run (no config.yaml).",
                remedy="Begin it with --mirror, or name another place.",
                code="no_run",
            )
        config = yaml_text.read(system.cat_file(f"{path}/config.yaml"))
    folder = Path(str(config["out"]))
    if _is_newer_here(folder, url, there):
        progress.notice("mirror", f"{folder} is here, and no older than {url}: it is resumed")
        return folder

    def fill(into: Path) -> None:
        with reported(url, "read"):
            for name in there:
                (into / name).parent.mkdir(parents=True, exist_ok=True)
                system.get_file(f"{path}/{name}", str(into / name))

    progress.phase(f"copying {url} to {folder}")
    files.publish(folder, fill)
    Mirror(folder, url)._write_record(_local(folder))
    return folder


def _is_newer_here(folder: Path, url: str, there: Iterable[str]) -> bool:
    """Whether the run of this mirror is in its folder, with a checkpoint at least as new."""
    files_here = RunFolder(folder)
    if not folder.exists():
        return False
    if is_held(folder):
        raise RunError(f"{folder}: another process is working on this run.", code="running")
    if not files_here.config.is_file() or files_here.read_config().mirror != url:
        raise RunError(
            f"{folder} is in the way: it is where the run of {url} belongs, and not that run.",
            remedy="Move it, or resume in another working directory.",
            code="exists",
        )
    newest = max((_step(name) for name in there), default=-1)
    return max((_step(name) for name in _local(folder)), default=-1) >= newest


def require_no_mirror(config: RunConfig, out: Path) -> None:
    """Raise ConfigError for a mirror in the config of several runs, whose folder is ``out``."""
    if config.mirror is not None:
        raise ConfigError(
            "mirror is the copy of one run's folder, and a comparison has several.",
            remedy=f"Leave the key out, and copy {out} when it is done, as docs/scale.md shows.",
        )


def _step(name: str) -> int:
    """The step of a complete checkpoint, by the file that makes it one; -1 for other files."""
    return checkpoint.step_of(Path(name).parent) if _STATE.fullmatch(name) else -1


def _complete(there: dict[str, int]) -> list[str]:
    """The files, without those of checkpoints that were not copied to their end."""
    whole = {name.removesuffix(checkpoint.STATE) for name in there if _STATE.fullmatch(name)}
    steps = {name: found[0] for name in there if (found := _STEP.match(name))}
    return [name for name in there if name not in steps or steps[name] in whole]


def _local(folder: Path) -> dict[str, tuple[int, int]]:
    """The run's files by their names in it, with size and time; locks and drafts are none of it."""
    found: dict[str, tuple[int, int]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            stat = path.stat()
            found[name.as_posix()] = (stat.st_size, stat.st_mtime_ns)
    return found


def _order(name: str) -> int:
    """What makes a checkpoint complete comes after its other files, what makes a run after all."""
    if name in _LAST:
        return 2 + _LAST.index(name)
    return 1 if _STATE.fullmatch(name) else 0
