"""Processes that do one kind of work on many items, in order; who dies over one is replaced.

`python -m tunesmith.core.workers` is such a process: pickles go in and out. It ends when its input
does, so that it never outlives whoever started it.
"""

import contextlib
import gc
import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO, Generic, Self, TypeVar, cast

from tunesmith.core.errors import TunesmithError

LENGTH_BYTES = 8
ITEMS_AHEAD = 4  # that wait for each process
ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
NOT_PICKLED = (RecursionError, pickle.PicklingError, TypeError, AttributeError)

Item = TypeVar("Item")
Result = TypeVar("Result")


class NotStarted(TunesmithError):
    """Processes could not be started, or could not make what they work with."""

    code = "worker"


class WorkerEnded(Exception):
    """The other side of the pipe is gone."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A process ended over an item: why, in its own words, or because its time was up."""

    why: str
    timed_out: bool


@dataclass(slots=True)
class Pool(Generic[Item, Result]):
    """Processes with a function each: what ``make`` ("module:function") gives for ``arguments``.

    They run while a ``with`` lasts, which raises NotStarted, or the TunesmithError of ``make``.
    ``lost`` gives the result of an item over which a process ended, or raises; another process
    takes its place. An item may take so many ``seconds``, a process ``memory_bytes`` of addresses.
    """

    make: str
    arguments: tuple[object, ...]
    processes: int
    lost: Callable[[Lost], Result]
    seconds: float | None = None
    memory_bytes: int | None = None
    _workers: "list[_Worker]" = field(init=False, default_factory=list)
    # None: one that is yet to be started again.
    _idle: "queue.SimpleQueue[_Worker | None]" = field(default_factory=queue.SimpleQueue)
    _is_closed: bool = field(init=False, default=False)

    def __enter__(self) -> Self:
        try:
            for each in [self._launched() for _ in range(self.processes)]:
                self._idle.put(self._greeted(each))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        for each in self._workers:
            each.process.communicate()
            each.printed.close()

    def map(
        self, items: Iterable[Item], *, here: Callable[[Item], Result] | None = None
    ) -> Iterator[Result]:
        """The results in the order of the items; ``here`` does those that cannot be handed over."""
        waiting: deque[Future[Result]] = deque()
        threads = ThreadPoolExecutor(self.processes)
        try:
            for item in items:
                try:
                    order = pickle.dumps(item, protocol=5)
                except NOT_PICKLED:
                    if here is None:
                        raise
                    waiting.append(Future())
                    waiting[-1].set_result(here(item))
                else:
                    waiting.append(threads.submit(self._result, order))
                if len(waiting) > ITEMS_AHEAD * self.processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            self._kill()
            threads.shutdown(cancel_futures=True)

    def _result(self, order: bytes) -> Result:
        worker = self._idle.get()
        idle: _Worker | None = None
        try:
            worker = idle = worker or self._greeted(self._launched())
            answer = worker.exchange(order, self.seconds)
        except (WorkerEnded, OSError):
            assert worker is not None
            idle = None
            why = f"exit status {worker.process.wait()}"
            return self.lost(Lost(worker.last_words() or why, worker.timed_out))
        finally:
            self._idle.put(idle)
        if isinstance(answer, Exception):
            raise answer
        return cast("Result", answer)

    def _launched(self) -> "_Worker":
        """A process outside of this one's group, so that Ctrl-C does not reach it."""
        if self._is_closed:
            raise NotStarted("The processes were ended.")
        limit = [] if self.memory_bytes is None else [str(self.memory_bytes)]
        path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tunesmith.core.workers", *limit],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            env={**os.environ, **ONE_THREAD, **path},
            process_group=0 if os.name == "posix" else None,
        )
        self._workers.append(_Worker(process, printed))
        return self._workers[-1]

    def _greeted(self, worker: "_Worker") -> "_Worker":
        """The worker once it has made its function."""
        try:
            error = worker.exchange(pickle.dumps((self.make, self.arguments), protocol=5))
        except Exception as raised:
            error = raised
        if isinstance(error, TunesmithError):
            raise error
        if isinstance(error, Exception):
            why = worker.last_words() or repr(error)
            raise NotStarted(f"Processes cannot be started: {why}") from error
        return worker

    def _kill(self) -> None:
        self._is_closed = True
        for each in self._workers:
            each.process.kill()


@dataclass(slots=True)
class _Worker:
    """A process that answers each message with one."""

    process: subprocess.Popen[bytes]
    printed: BinaryIO  # its own: a file shared by processes has one position for all of them
    timed_out: bool = False

    def exchange(self, order: bytes, seconds: float | None = None) -> object:
        """The answer, which may be an exception; raises Ended or OSError if there is none."""
        timer = threading.Timer(seconds or 0, self._time_out)
        if seconds is not None:
            timer.start()
        try:
            _send(cast("BinaryIO", self.process.stdin), order)
            return pickle.loads(_receive(cast("BinaryIO", self.process.stdout)))
        finally:
            timer.cancel()

    def last_words(self) -> str:
        """The last line that it printed."""
        self.printed.seek(0)
        lines = self.printed.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _time_out(self) -> None:
        self.timed_out = True
        self.process.kill()


def _send(pipe: BinaryIO, data: bytes) -> None:
    pipe.write(len(data).to_bytes(LENGTH_BYTES, "little"))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: BinaryIO) -> bytes:
    """The next message; raises Ended."""
    return _exactly(pipe, int.from_bytes(_exactly(pipe, LENGTH_BYTES), "little"))


def _exactly(pipe: BinaryIO, count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise WorkerEnded
    return data


def main() -> None:
    """Make the function that the first message names; answer every other with what it gives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    with contextlib.suppress(ImportError):  # where there are no such limits
        import resource

        for limit in map(int, sys.argv[1:]):
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with contextlib.suppress(WorkerEnded, BrokenPipeError):
        for answer in _answers(sys.stdin.buffer):
            _send(answers, pickle.dumps(answer, protocol=5))


def _answers(orders: BinaryIO) -> Iterator[object]:
    """None for the function, then what it gives for each item; an error is an answer too."""
    work: Callable[[object], object] | None = None
    while True:
        order = _receive(orders)
        try:
            if work is None:
                make, arguments = pickle.loads(order)
                module, _, name = make.partition(":")
                work = getattr(importlib.import_module(module), name)(*arguments)
                gc.freeze()  # to look through what is loaded again and again took 8 % of the time
                yield None
            else:
                yield work(pickle.loads(order))
        except Exception as error:
            error.add_note(traceback.format_exc())
            yield error


if __name__ == "__main__":
    main()
