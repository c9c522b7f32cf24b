"""A run on several ranks of this machine: torchrun's agent starts them, their events come here."""

import contextlib
import logging
import os
import pickle
import queue
import secrets
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.errors import RunError, UsageError
from tunesmith.core.progress import Cancelled, Event, Progress, finishing_first, usable_cores
from tunesmith.core.ranks import place_of, require_power_of_two

if TYPE_CHECKING:
    from torch.distributed.elastic.agent.server.api import ElasticAgent, WorkerGroup

    from tunesmith.config.run import RunConfig
    from tunesmith.runs.summary import RunSummary

WORKER = "tunesmith.api.rank_worker"
RESTARTS = 3  # of all ranks, after one of them was killed or hangs
_POLL_SECONDS = 0.1
_THREADS = "OMP_NUM_THREADS"
# torch's own messages about ranks that end: they are reported in our words
_QUIET = {"TORCH_CPP_LOG_LEVEL": "ERROR"}


def require_ranks(count: int, *, is_named: bool) -> None:
    """Raise where so many ranks cannot be started: RunError, and UsageError for wrong usage."""
    require_power_of_two(count)
    if place_of(os.environ).size > 1:
        raise UsageError("These are ranks that torchrun started.", remedy="Omit --ranks.")
    if not is_named:
        raise UsageError(
            "A model in memory is in this process alone.",
            remedy="Save it to a folder and give that as the model, for several ranks.",
        )


def run_on_ranks(request: "RunConfig | Path", count: int, progress: Progress) -> "RunSummary":
    """Train a config, or resume the run in a folder, on ``count`` ranks.

    A rank that is killed, or hangs, starts all of them once more, from the newest checkpoint. A
    cancel goes on to the ranks: the first lets them complete their step, the second ends them.
    Raises what a rank raises, and RunError where ranks ended too often.
    """
    with tempfile.TemporaryDirectory() as folder, _listening() as (listener, key):
        path = Path(folder) / "request"
        path.write_bytes(pickle.dumps((request, listener.address, key)))
        with _environment(count):
            return _Ranks(_agent(path, count), listener).outcome(progress)


@contextlib.contextmanager
def _listening() -> Iterator[tuple[Listener, bytes]]:
    """A socket of this machine for those that know the key."""
    key = secrets.token_bytes(32)
    with Listener(("127.0.0.1", 0), authkey=key) as listener:
        yield listener, key


@contextlib.contextmanager
def _environment(count: int) -> Iterator[None]:
    """What ranks take over: threads that together are as many as cores, and a quiet torch."""
    added = {_THREADS: str(max(1, usable_cores() // count)), **_QUIET}
    added = {name: value for name, value in added.items() if name not in os.environ}
    os.environ.update(added)
    log = logging.getLogger("torch.distributed.elastic")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
        for name in added:
            os.environ.pop(name, None)


def _agent(request: Path, count: int) -> "ElasticAgent":
    from torch.distributed.elastic.agent.server.api import WorkerSpec
    from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.rendezvous import RendezvousParameters, registry

    meeting = RendezvousParameters(
        backend="c10d",
        endpoint="localhost:0",
        run_id=str(uuid.uuid4()),
        min_nodes=1,
        max_nodes=1,
        local_addr="localhost",
    )
    spec = WorkerSpec(
        role="rank",
        local_world_size=count,
        entrypoint=sys.executable,
        args=("-m", WORKER, str(request)),
        rdzv_handler=registry.get_rendezvous_handler(meeting),
        max_restarts=RESTARTS,
        monitor_interval=_POLL_SECONDS,
        local_addr="localhost",
    )
    return LocalElasticAgent(spec, logs_specs=DefaultLogsSpecs())


@dataclass(slots=True, eq=False)
class _Ranks:
    """The ranks of one run, watched by an agent; what they report comes through a listener."""

    agent: "ElasticAgent"
    listener: Listener
    ended: Any = None  # what the agent gave: its result, or an exception

    def outcome(self, progress: Progress) -> "RunSummary":
        """Pass their events on until they end; the summary of rank 0, or the error of one."""
        messages: queue.SimpleQueue[object] = queue.SimpleQueue()
        threading.Thread(target=self._receive, args=(messages,), daemon=True).start()
        watching = threading.Thread(target=self._watch, daemon=True)
        watching.start()
        found: object = None
        try:
            with finishing_first():
                is_asked = False
                while watching.is_alive() or not messages.empty():
                    with contextlib.suppress(queue.Empty):
                        message = messages.get(timeout=_POLL_SECONDS)
                        if isinstance(message, Event):
                            progress.report(message)
                        else:
                            found = message
                    if progress.is_cancelled and not is_asked:
                        is_asked = True
                        self._signal(signal.SIGTERM)
        except KeyboardInterrupt:
            self._end()
            raise
        return self._concluded(found)

    def _receive(self, messages: "queue.SimpleQueue[object]") -> None:
        """One rank after the other connects, where it has something to report."""
        while True:
            try:
                connection: Connection = self.listener.accept()
            except (OSError, EOFError):
                return  # the listener is closed
            with connection, contextlib.suppress(EOFError, OSError):
                while True:
                    messages.put(connection.recv())

    def _watch(self) -> None:
        try:
            self.ended = self.agent.run()
        except Exception as error:  # reported by whoever waits
            self.ended = error

    def _signal(self, number: signal.Signals) -> None:
        group: WorkerGroup = self.agent.get_worker_group()
        for worker in group.workers:
            if isinstance(worker.id, int):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(worker.id, number)

    def _end(self) -> None:
        """At once, and without another start."""
        group: WorkerGroup = self.agent.get_worker_group()
        group.spec.rdzv_handler.shutdown()
        self._signal(signal.SIGKILL)

    def _concluded(self, found: object) -> "RunSummary":
        if isinstance(found, Cancelled):
            raise found
        if isinstance(found, Exception):
            raise found
        failures = getattr(self.ended, "failures", {})
        if failures or found is None:
            raise _lost(failures, self.ended) from None
        return found  # type: ignore[return-value]


def _lost(failures: Any, ended: object) -> RunError:
    """Ranks ended more often than they are started."""
    ways = [
        f"rank {number} ended by {failure.signal_name()}"
        if failure.exitcode < 0
        else f"rank {number} ended with status {failure.exitcode}"
        for number, failure in sorted(failures.items(), key=lambda item: item[1].timestamp)
    ]
    what = "; ".join(ways) or f"the ranks ended ({ended})"
    return RunError(
        f"The ranks were started {1 + RESTARTS} times, and the last time {what}.",
        remedy="Where memory ran out, start fewer ranks or a smaller train.tokens_per_micro_batch; "
        "what was saved stays: continue with --resume.",
        code="ranks",
    )
