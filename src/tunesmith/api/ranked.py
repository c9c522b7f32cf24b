"""A run on several ranks of this machine: torchrun's agent starts them, their events come here."""

import contextlib
import logging
import os
import pickle
import queue
import secrets
import signal
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.core.errors import RunError, UsageError
from tunesmith.core.progress import Event, Progress, finishing_first, usable_cores
from tunesmith.core.rank_place import place_of, require_power_of_two

if TYPE_CHECKING:
    from torch.distributed.elastic.agent.server.api import ElasticAgent, WorkerGroup

    from tunesmith.config.run import RunConfig
    from tunesmith.runs.summary import RunSummary

WORKER = "tunesmith.api.rank_worker"
RESTARTS = 3  # of all ranks, after one of them was killed or hangs
_POLL_SECONDS, _QUIET_POLLS = 0.1, 5
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
    cancel reaches the ranks: the first lets them complete their step, the second ends them.
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
    is_over: bool = False

    def outcome(self, progress: Progress) -> "RunSummary":
        """Pass their events on until they end; the summary of rank 0, or the error of one."""
        messages: queue.SimpleQueue[object] = queue.SimpleQueue()
        threading.Thread(target=self._receive, args=(messages,), daemon=True).start()
        watching = threading.Thread(target=self._watch, daemon=True)
        watching.start()
        found: object = None
        quiet, asked = 0, set[int]()
        try:
            with finishing_first():
                while quiet < _QUIET_POLLS:
                    try:
                        message = messages.get(timeout=_POLL_SECONDS)
                    except queue.Empty:
                        quiet += not watching.is_alive()
                    else:
                        quiet, is_event = 0, isinstance(message, Event)
                        if is_event:
                            progress.report(message)  # type: ignore[arg-type]
                        else:
                            found = message
                    if progress.is_cancelled:
                        asked |= self._signal(signal.SIGTERM, spared=asked)
        except KeyboardInterrupt:
            self._end()
            raise
        finally:
            self._stop_listening()
        return self._concluded(found, is_cancelled=progress.is_cancelled)

    def _receive(self, messages: "queue.SimpleQueue[object]") -> None:
        """One rank after the other connects, where it has something to report."""
        while not self.is_over:
            try:
                connection: Connection = self.listener.accept()
            except (OSError, EOFError, AuthenticationError):
                continue  # of somebody else, or of ``_stop_listening``
            with connection, contextlib.suppress(EOFError, OSError):
                while True:
                    messages.put(connection.recv())

    def _stop_listening(self) -> None:
        self.is_over = True
        with contextlib.suppress(OSError):
            socket.create_connection(self.listener.address).close()

    def _watch(self) -> None:
        try:
            self.ended = self.agent.run()
        except Exception as error:  # reported by whoever waits
            self.ended = error

    def _signal(self, number: signal.Signals, *, spared: Collection[int] = ()) -> set[int]:
        """Send a signal to the ranks that live, but for some; to which."""
        group: WorkerGroup = self.agent.get_worker_group()
        there = {each.id for each in group.workers if isinstance(each.id, int)} - set(spared)
        for process in there:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process, number)
        return there

    def _end(self) -> None:
        """At once, and without another start."""
        group: WorkerGroup = self.agent.get_worker_group()
        group.spec.rdzv_handler.shutdown()
        self._signal(signal.SIGKILL)

    def _concluded(self, found: object, *, is_cancelled: bool) -> "RunSummary":
        """What the ranks ended with. Those that end as another was lost say that they stopped."""
        failures = getattr(self.ended, "failures", {})
        if found is None or (failures and not is_cancelled):
            raise _lost(failures, self.ended)
        if isinstance(found, BaseException):
            raise found
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
