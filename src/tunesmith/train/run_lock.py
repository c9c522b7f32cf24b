"""One process at a time works on a run."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

from tunesmith import locks
from tunesmith.errors import RunError

LOCK = ".lock"


def alone(run: Path) -> AbstractContextManager[None]:
    """Hold the run in this folder; raises RunError where another process does."""

    def refuse() -> NoReturn:
        raise RunError(
            f"{run}: another process is working on this run.",
            remedy=f"Wait for it; `tunesmith runs show {run}` tells how far it is.",
            code="running",
        )

    return locks.held(run / LOCK, taken=refuse)


def is_held(run: Path) -> bool:
    """Whether a process is working on the run in this folder."""
    return locks.is_held(run / LOCK)
