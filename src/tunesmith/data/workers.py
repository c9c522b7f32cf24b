"""Chunks of records tokenized one after another: the first here, the rest in processes.

`python -m tunesmith.data.workers`, started by `workers.py`. It ends when its input does, so that it
never outlives whoever started it.
"""

import gc
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, cast

from tunesmith.core.errors import DataError
from tunesmith.data.read import Layout
from tunesmith.data.rows import Record
from tunesmith.data.tokenise import Recipe, Tokenised, Tokeniser

LENGTH_BYTES = 8


class Ended(Exception):
    """The other side of the pipe is gone."""


def send(pipe: BinaryIO, data: bytes) -> None:
    """One message."""
    pipe.write(len(data).to_bytes(LENGTH_BYTES, "little"))
    pipe.write(data)
    pipe.flush()


def receive(pipe: BinaryIO) -> bytes:
    """The next message; raises Ended."""
    length = int.from_bytes(_exactly(pipe, LENGTH_BYTES), "little")
    return _exactly(pipe, length)


def _exactly(pipe: BinaryIO, count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise Ended
    return data


def main() -> None:
    """Answer to every chunk of records with what they become, or with the error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get among the answers
    orders = sys.stdin.buffer
    try:
        recipe, layout = pickle.loads(receive(orders))
        from tunesmith.data.tokenise import Tokeniser

        tokeniser = Tokeniser(recipe)
        gc.freeze()  # what is loaded stays: to look through it again and again took 8 % of the time
        send(answers, pickle.dumps(None))
        while True:
            records = pickle.loads(receive(orders))
            try:
                answer: object = tokeniser.records(records, layout)
            except Exception as error:
                error.add_note(traceback.format_exc())
                answer = error
            send(answers, pickle.dumps(answer, protocol=5))
    except (Ended, BrokenPipeError):
        return


if __name__ == "__main__":
    main()


# A few chunks are done before a process is ready.
CHUNKS_HERE = 16
# One process reads for all of them, and no more can be fed; each holds about 100 MB.
MOST_PROCESSES = 6
CHUNKS_WAITING = 3  # for each process

Chunk = list[Record]


def tokenised(
    chunks: Iterator[Chunk],
    recipe: Recipe,
    layout: Layout,
    *,
    processes: int,
    tell: Callable[[str], object],
) -> Generator[Tokenised]:
    """What the chunks become, in their order; beyond the first in so many ``processes``.

    ``tell`` hears why it is one after all. Raises DataError where one of several dies.
    """
    tokeniser = Tokeniser(recipe)
    for chunk in islice(chunks, CHUNKS_HERE):
        yield tokeniser.records(chunk, layout)
    chunk = next(chunks, [])
    workers = None
    if chunk and processes > 1:
        workers = _started((recipe, layout), min(processes, MOST_PROCESSES), tell)
    if workers is not None:
        yield from workers.work(chunk, chunks, lambda some: tokeniser.records(some, layout))
        return
    while chunk:
        yield tokeniser.records(chunk, layout)
        chunk = next(chunks, [])


def _started(work: object, count: int, tell: Callable[[str], object]) -> "_Workers | None":
    """Processes that have understood their work; None, and why, where they cannot."""
    workers = _Workers()
    try:
        order = pickle.dumps(work, protocol=5)
        for _ in range(count):
            workers.start()
        for each in workers.all:
            each.exchange(order)
    except Exception as error:
        last = workers.last_words() or repr(error)
        workers.end()
        tell(f"rows are tokenised in one process, for others cannot be started: {last}")
        return None
    return workers


@dataclass(frozen=True, slots=True)
class _Worker:
    """A process that answers every message with one."""

    process: subprocess.Popen[bytes]

    def exchange(self, order: bytes) -> object:
        """The answer; raises it if it is an error, and Ended or OSError if there is none."""
        send(cast("BinaryIO", self.process.stdin), order)
        answer = pickle.loads(receive(cast("BinaryIO", self.process.stdout)))
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass(slots=True)
class _Workers:
    """Processes, those that have nothing to do, and what they print."""

    all: list[_Worker] = field(default_factory=list)
    idle: "queue.SimpleQueue[_Worker]" = field(default_factory=queue.SimpleQueue)
    printed: BinaryIO = field(default_factory=tempfile.TemporaryFile)

    def start(self) -> None:
        """One more; it is not in this process' group, so that Ctrl-C does not reach it."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tunesmith.data.workers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.printed,
            env=environment,
            process_group=0 if os.name == "posix" else None,
        )
        worker = _Worker(process)
        self.all.append(worker)
        self.idle.put(worker)

    def work(
        self, first: Chunk, others: Iterator[Chunk], here: Callable[[Chunk], Tokenised]
    ) -> Iterator[Tokenised]:
        """What the chunks become, in order; ``here`` does those that no process can be given."""
        waiting: deque[Future[Tokenised]] = deque()
        pool = ThreadPoolExecutor(len(self.all))
        try:
            chunk = first
            while chunk:
                try:
                    order = pickle.dumps(chunk, protocol=5)
                except (RecursionError, pickle.PicklingError, TypeError, AttributeError):
                    waiting.append(Future())
                    waiting[-1].set_result(here(chunk))
                else:
                    waiting.append(pool.submit(self._done, order))
                if len(waiting) > CHUNKS_WAITING * len(self.all):
                    yield waiting.popleft().result()
                chunk = next(others, [])
            while waiting:
                yield waiting.popleft().result()
        finally:
            self.end()
            pool.shutdown(cancel_futures=True)

    def _done(self, order: bytes) -> Tokenised:
        worker = self.idle.get()
        try:
            answer = worker.exchange(order)
        except (Ended, OSError) as error:
            status = worker.process.wait()
            why = self.last_words() or f"exit status {status}"
            raise DataError(
                f"A process that tokenised rows ended before its work was done ({why}).",
                remedy="If memory was short, try again with --train.threads 1.",
                code="worker",
            ) from error
        finally:
            self.idle.put(worker)
        assert isinstance(answer, Tokenised)
        return answer

    def last_words(self) -> str:
        """The last line that a process printed."""
        self.printed.seek(0)
        lines: Sequence[str] = self.printed.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def end(self) -> None:
        """End all of them now."""
        for worker in self.all:
            worker.process.kill()
        for worker in self.all:
            worker.process.communicate()
        self.printed.close()
