"""Files read and cut in processes of their own, in order, while others are embedded."""

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from tunesmith.core.errors import RagError
from tunesmith.retrieval.chunk import Chunk, Cutting
from tunesmith.retrieval.read import FileOrder, Refused

MOST_SECONDS = 120.0  # for one file
MOST_PROCESSES = 4
WAITING = 4  # files read ahead, for each process

Answer = tuple[str, list[Chunk]] | Refused


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read: by how many processes, each for how long at most.

    With ``again`` those that could not be read before are tried once more.
    """

    processes: int = 1
    most_seconds: float = MOST_SECONDS
    again: bool = False


@dataclass(slots=True)
class Reader:
    """A process that reads; one that hangs or dies over a file is replaced."""

    model: Path
    cutting: Cutting
    most_seconds: float = MOST_SECONDS
    process: "subprocess.Popen[bytes] | None" = None

    def read(self, order: FileOrder) -> Answer:
        """What the process answers, or a refusal in its place."""
        process = self._started()
        timed_out = threading.Event()

        def end() -> None:
            timed_out.set()
            process.kill()

        timer = threading.Timer(self.most_seconds, end)
        timer.start()
        try:
            pickle.dump(order, cast("IO[bytes]", process.stdin))
            cast("IO[bytes]", process.stdin).flush()
            return cast("Answer", pickle.load(cast("IO[bytes]", process.stdout)))
        except (EOFError, OSError, pickle.UnpicklingError):
            self.end()
            if timed_out.is_set():
                why = f"took longer than {self.most_seconds:.0f} s to read."
                return Refused(why, "Split it, or leave it out.", "too_slow")
            why = "ended the process that read it; it may be damaged, or unfold into too much."
            return Refused(why, "Save it anew, or leave it out.", "damaged")
        finally:
            timer.cancel()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self.process is None:
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "TOKENIZERS_PARALLELISM": "false",
                "RAYON_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
            }
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tunesmith.retrieval.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                process_group=0 if os.name == "posix" else None,
            )
            pickle.dump((self.model, self.cutting), cast("IO[bytes]", self.process.stdin))
        return self.process

    def end(self) -> None:
        """End the process now."""
        process, self.process = self.process, None  # whoever takes it, ends it
        if process is not None:
            process.kill()
            process.communicate()


@dataclass(slots=True)
class Readers:
    """Processes that read, each started when it is first needed; end them by ``with``."""

    model: Path
    cutting: Cutting
    reading: Reading = field(default_factory=Reading)
    _all: list[Reader] = field(default_factory=list)
    _idle: "queue.SimpleQueue[Reader]" = field(default_factory=queue.SimpleQueue)

    def __enter__(self) -> "Readers":
        for _ in range(max(1, min(self.reading.processes, MOST_PROCESSES))):
            self._all.append(Reader(self.model, self.cutting, self.reading.most_seconds))
            self._idle.put(self._all[-1])
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._all:
            each.end()

    def read(self, orders: Sequence[FileOrder]) -> Iterator[tuple[FileOrder, Answer]]:
        """Each file's answer in order; raises RagError where files cannot be cut at all."""
        waiting: deque[tuple[FileOrder, Future[Answer]]] = deque()
        pool = ThreadPoolExecutor(len(self._all))
        try:
            for order in orders:
                waiting.append((order, pool.submit(self._one, order)))
                if len(waiting) > WAITING * len(self._all):
                    yield self._answered(*waiting.popleft())
            while waiting:
                yield self._answered(*waiting.popleft())
        finally:
            for each in self._all:
                each.end()
            pool.shutdown(cancel_futures=True)

    def _one(self, order: FileOrder) -> Answer:
        reader = self._idle.get()
        try:
            return reader.read(order)
        finally:
            self._idle.put(reader)

    @staticmethod
    def _answered(order: FileOrder, future: "Future[Answer]") -> tuple[FileOrder, Answer]:
        answer = future.result()
        if isinstance(answer, Refused) and answer.code == "cutter":
            raise RagError(answer.message, remedy=answer.remedy)
        return order, answer
