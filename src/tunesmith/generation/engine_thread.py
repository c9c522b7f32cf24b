"""The one thread that computes: requests, and between two steps whatever else is to be done."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from tunesmith.core.errors import TunesmithError
from tunesmith.generation.request import AnswerJob, AnswerRequest, Listener
from tunesmith.generation.scheduler import Scheduler

T = TypeVar("T")
logger = logging.getLogger(__name__)


class EngineThread:
    """Runs a scheduler until it is closed; its methods may be called by any thread."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._calls: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive() and not self._closed

    def submit(self, request: AnswerRequest, listener: Listener) -> AnswerJob:
        """``Scheduler.submit``; the engine's thread calls the listener, which must be quick."""
        job = self.scheduler.submit(request, listener)
        self._notify()
        return job

    def cancel(self, job: AnswerJob) -> None:
        """Free a job's row before the next step."""
        job.cancelled = True
        self._notify()

    def call(self, function: Callable[[], T]) -> "Future[T]":
        """Have a function called between two steps, where it may change the base's adapters."""
        future: Future[T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)

        self._calls.append(run)
        self._notify()
        return future

    def close(self, seconds: float = 10.0) -> None:
        """End it after the current step; what is not answered ends with an error."""
        self._closed = True
        self._notify()
        self._thread.join(seconds)

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify()

    def _run(self) -> None:
        busy = True
        while not self._closed:
            with self._wake:
                idle = not (busy or self._calls or self.scheduler.waiting or self._closed)
                if idle:
                    self._wake.wait()
            while self._calls:
                self._calls.popleft()()
            try:
                busy = self.scheduler.advance()
            except Exception:
                logger.exception("a step failed; its requests end with an error")
                self.scheduler.fail(_FAILED)
        self.scheduler.fail(_CLOSED)


_FAILED = TunesmithError("The engine failed at this request.", remedy="The log says where.")
_CLOSED = TunesmithError("The server is being stopped.", code="stopped")
