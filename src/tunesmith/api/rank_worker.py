"""A rank of a run: `python -m tunesmith.api.rank_worker REQUEST`, as `api.ranked` starts it."""

import contextlib
import os
import pickle
import sys
import traceback
from dataclasses import replace
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core import ranks
from tunesmith.core.errors import TunesmithError
from tunesmith.core.progress import Cancelled, Notice, Progress, cancel_on_signal
from tunesmith.core.ranks import LOST, ReportedElsewhere

if TYPE_CHECKING:
    from tunesmith.runs.summary import RunSummary


class _Parent:
    """Who started the ranks; those that have something to report connect to it."""

    def __init__(self, address: Any, key: bytes) -> None:
        self._address, self._key = address, key
        self._connection: Connection | None = None

    def send(self, message: object) -> None:
        """An event, a summary, or an error that ended the run."""
        if self._connection is None:
            self._connection = Client(self._address, authkey=self._key)
        self._connection.send(message)


def main(request: Path) -> int:
    """Do a rank's part; the status is 0 where all is reported, so that nothing is done again."""
    asked, address, key = pickle.loads(request.read_bytes())  # of our own parent
    parent = _Parent(address, key)
    is_first = os.environ.get("RANK", "0") == "0"
    try:
        summary = _run(asked, parent if is_first else None)
        if is_first:
            parent.send(_ended(summary, parent))
    except ReportedElsewhere:
        return 0
    except TunesmithError as error:
        if error.code == LOST:
            parent.send(Notice(LOST, f"{error.message} The ranks are started once more"))
            return 1
        parent.send(error)
    except KeyboardInterrupt as interrupt:
        if is_first:
            parent.send(interrupt if isinstance(interrupt, Cancelled) else Cancelled())
    except Exception as error:
        parent.send(_sendable(error))
    return 0


def _ended(summary: "RunSummary", parent: _Parent) -> "RunSummary":
    """The summary for the parent; trackers, which live here, have the result before."""
    from tunesmith.report.writing import draw_report
    from tunesmith.runs.summary import end_trackers

    if summary.reason != "stopped":
        draw_report(Path(summary.run), parent.send)  # a file of the result
        end_trackers(summary)
    return replace(summary, trackers=None)


def _sendable(error: Exception) -> Exception:
    """An error that nobody foresaw, with its traceback as a note; by its name where it must be."""
    try:
        copy: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note("".join(traceback.format_exception(error)))
    return copy


def _run(asked: Any, parent: _Parent | None) -> "RunSummary":
    from tunesmith.runs.run import resume_run, train_run

    with ranks.running(), cancel_on_signal(None) as stop:
        report = parent.send if parent is not None else _nothing
        progress = Progress(report, cancelled=stop)
        if isinstance(asked, Path):
            return resume_run(asked, progress=progress)
        return train_run(asked, progress=progress)


def _nothing(_: object) -> None:
    """For ranks after the first."""


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(status)  # at once: Python takes a second to take torch down
