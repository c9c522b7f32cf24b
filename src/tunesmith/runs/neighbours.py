"""Which other trainings run on this machine now: two that share a device slow each other down.

Each training leaves a marker in the cache while it lasts. The lock of
its run shows whether its process lives, as the system drops it; a marker without a lock is removed
by the next training.
"""

import contextlib
import hashlib
import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import torch

from tunesmith.core import files
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Notice, usable_cores
from tunesmith.core.ranks import is_first, local_size
from tunesmith.models.cache import cache_root
from tunesmith.models.precision import detect_device
from tunesmith.runs.folder import is_held


@dataclass(frozen=True, slots=True)
class Training:
    """A training as others see it; ``run`` is its whole path."""

    run: str
    host: str
    device: str
    threads: int
    since: str


@contextlib.contextmanager
def announced(run: Path, *, device: str, threads: int | None) -> Iterator[Notice | None]:
    """Announce this training, whose run is held, to others while it lasts; rank 0 does for all.

    Yields what its user must know of the others; None where none is in the way. ``device`` and
    ``threads`` are those of the config; ModelError for a device that is not here.
    """
    if not is_first():
        yield None
        return
    own = Training(
        run=str(run.resolve()),
        host=platform.node(),
        device=_named(detect_device(device)),
        threads=(threads or torch.get_num_threads()) * local_size(),
        since=f"{datetime.now().astimezone():%Y-%m-%d %H:%M}",
    )
    key = hashlib.sha256(f"{own.host} {own.run}".encode()).hexdigest()[:32]
    marker = cache_root() / "running" / f"{key}.json"
    # A cache that cannot be written costs only the warning. First announce, then look: of two that
    # start at once one sees the other.
    with contextlib.suppress(OSError):
        files.replace_text(marker, json.dumps(asdict(own)))
    others = list(_others(marker))
    try:
        yield _warning(own, others)
    finally:
        with contextlib.suppress(OSError):
            marker.unlink()


def _others(own: Path) -> Iterator[Training]:
    """The trainings of this machine whose process lives, by their markers beside an ``own`` one;
    markers of the dead are removed.
    """
    for path in sorted(set(own.parent.glob("*.json")) - {own}):
        # gone meanwhile, or of another version
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            training = Training(**json.loads(path.read_text(encoding="utf-8")))
            if training.host != platform.node():  # a cache that several machines share
                continue
            if is_held(Path(training.run)):
                yield training
            else:
                path.unlink()


def _warning(own: Training, others: list[Training]) -> Notice | None:
    near = [other for other in others if other.device == own.device]
    cores = usable_cores()
    threads = own.threads + sum(other.threads for other in near)
    if not near or (own.device == "cpu" and threads <= cores):
        return None
    where = "; ".join(f"{_short(other.run)}, {other.since}" for other in near)
    if len(near) == 1:
        what = f"another training runs here ({where}): both will be slow"
    else:
        what = f"{pluralize(len(near), 'other training')} run here ({where}): all will be slow"
    crowd = f"{pluralize(threads, 'thread')} on {pluralize(cores, 'core')}"
    remedy = f"give each fewer threads with train.threads ({crowd})"
    if own.device != "cpu":
        remedy = "give each a device of its own with device"
    return Notice("neighbours", f"{what}; stop one, or {remedy}")


def _named(device: torch.device) -> str:
    return device.type if device.type == "cpu" else f"{device.type}:{device.index or 0}"


def _short(run: str) -> str:
    """The path as a user here would write it."""
    path = Path(run)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
