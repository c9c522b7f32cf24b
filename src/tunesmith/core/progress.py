"""Long work: who receives its progress, who may cancel it, how many threads it may use."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass
from types import FrameType
from typing import Any, ClassVar, TypeVar

from tunesmith.core.language import localized
from tunesmith.core.ranks import speaks

SECONDS_BETWEEN_REPORTS = 0.25
STEPS_BETWEEN_LOOKS = 256
# Of the work, before a time left is reported: what is done once (a load, a first batch of answers,
# of which one ends first) says nothing of the rest.
MIN_DONE, MIN_SHARE = 2, 0.05

Item = TypeVar("Item")


class Cancelled(KeyboardInterrupt):
    """Work was cancelled: by Ctrl-C, SIGTERM, a notebook's stop button or a caller's ``cancelled``.

    What was complete is kept wherever the work keeps anything: ``result`` is what there is so far,
    of a run also called ``run``. ``str()`` says how to resume; ``same_call``: by calling again. It
    is no Exception, so that nothing that survives the failure of a part swallows it.
    """

    def __init__(self, message: str = "", result: Any = None, *, same_call: bool = False) -> None:
        super().__init__(message)
        self.message, self.same_call = message, same_call
        self.result = self.run = result

    def __str__(self) -> str:
        return f"{self.message} The same call resumes." * self.same_call or self.message


TOGETHER = "together"  # the name under which what several runs take at once is reported


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during long work; ``name`` is what its kind is called on disk."""

    name: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Phase(Event):
    """A wait: what is being done, how much of it is done, of how much (None: unknown)."""

    name = "phase"
    phase: str
    done: int = 0
    total: int | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something that was decided or happened and must not pass silently."""

    name = "notice"
    code: str  # dtype, too_long, inserted_system, resumed, not_exact, recompute, ...
    message: str


OnEvent = Callable[[Event], object]


def ignore(_: object) -> None:
    """For callers that show nothing."""


def never() -> bool:
    """For work that nobody cancels."""
    return False


def usable_cores() -> int:
    """Cores that this process may run on, which a container can limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def time_left(seconds: float, made: float, left: float) -> float | None:
    """Seconds for what is ``left`` at the speed so far; None until that rests on something."""
    if made < max(MIN_DONE, MIN_SHARE * (made + left)):
        return None
    return seconds / made * max(0, left)


@dataclass(frozen=True, slots=True)
class Progress:
    """Goes through everything that takes long: it takes events, and is asked whether to cancel.

    ``threads`` are the processor threads that the work may use (None: all that there are).
    """

    on_event: OnEvent = ignore
    _: KW_ONLY
    cancelled: Callable[[], bool] = never
    threads: int | None = None

    @property
    def processes(self) -> int:
        """How many processes may work at once."""
        return self.threads or usable_cores()

    @property
    def is_cancelled(self) -> bool:
        """Whether a cancel was asked for, for work that must end in an order of its own."""
        return self.cancelled()

    def check(self) -> None:
        """Raise Cancelled where a cancel was asked for."""
        if self.cancelled():
            raise Cancelled

    def report(self, event: Event) -> None:
        """Whoever listens hears of the event."""
        self.on_event(event)

    def notice(self, code: str, message: str) -> None:
        """Report something that must not pass silently."""
        self.report(Notice(code, message))

    def phase(self, name: str, total: int | None = None) -> "PhaseProgress":
        """A new wait, reported now."""
        self.report(Phase(name, 0, total))
        return PhaseProgress(self, name, total)

    def quiet_phase(
        self, name: str, total: int | None = None, *, cancels: bool = False
    ) -> "PhaseProgress":
        """A new wait that is reported only where it lasts; ``cancels``: it ends before that too."""
        return PhaseProgress(self, name, total, is_quiet=True, cancels=cancels)


SILENT = Progress()


class PhaseProgress:
    """How far a phase is: reported now and then, cancelled between two parts.

    The last part is never cancelled: what is complete stays. A quiet phase is not cancelled either
    before it lasts.
    """

    def __init__(
        self,
        progress: Progress,
        name: str,
        total: int | None,
        *,
        is_quiet: bool = False,
        cancels: bool = False,
    ) -> None:
        self._progress, self._name, self._total = progress, name, total
        self._start = self._reported = time.monotonic()
        self._is_quiet, self._cancels = is_quiet, cancels or not is_quiet
        self._done = 0
        self._first: int | None = None  # what was known before took no time

    def check(self) -> None:
        """Raise Cancelled where that was asked for, in the middle of a part that takes long."""
        if self._cancels:
            self._progress.check()

    def at(self, done: int, total: int | None = None) -> None:
        """So much is done; raises Cancelled where that was asked for before the last part."""
        self._total = self._total if total is None else total
        self._done = done
        self._first = done if self._first is None else self._first
        is_last = self._total is not None and done >= self._total
        now = time.monotonic()
        is_due = now - self._reported >= SECONDS_BETWEEN_REPORTS
        if is_due or (is_last and not self._is_quiet):
            self._report(now)
        if not is_last:
            self.check()

    def _report(self, now: float) -> None:
        self._reported, self._is_quiet, self._cancels = now, False, True
        left = None
        if self._total is not None and self._first is not None:
            left = time_left(now - self._start, self._done - self._first, self._total - self._done)
        self._progress.report(Phase(self._name, self._done, self._total, left))

    def advance(self, count: int = 1) -> None:
        """So many more parts are done."""
        if self._first is None:
            self._first = 0
        self.at(self._done + count)

    def step(self) -> None:
        """One more is done of many parts that are too small to look at the clock after each."""
        self._done += 1
        if self._done == 1 or self._done % STEPS_BETWEEN_LOOKS == 0:
            self.at(self._done)

    def over(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each counted once it was worked on."""
        for item in items:
            yield item
            self.advance()


UNSEEN = SILENT.phase("")  # a phase that nobody looks at, so that what it counts means nothing


_received: list[int] = []  # signals that this process was sent while work could be cancelled
_finishing: list[None] = []  # one for each ``finishing_first`` that lasts


def status_of_cancel() -> int:
    """What a shell expects of a process that was cancelled: 130 by Ctrl-C, 143 by SIGTERM."""
    return 128 + (_received[-1] if _received else signal.SIGINT)


@contextlib.contextmanager
def finishing_first() -> Iterator[None]:
    """Here a signal only asks for a cancel: the work completes its part, keeps it, and ends."""
    _finishing.append(None)
    try:
        yield
    finally:
        _finishing.pop()


@contextlib.contextmanager
def cancel_on_signal(notice: str | None) -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM raise Cancelled at once; the answer is whether one of them came.

    Within ``finishing_first`` the first says ``notice`` and raises nothing, a second interrupts.
    None: nothing is printed.
    Outside the main thread, where signals cannot be caught, the answer stays no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield never
        return
    asked = threading.Event()
    _received.clear()
    first, at_once = (localized(text) for text in (notice or "", "stopping"))

    def ask(number: int, _frame: FrameType | None) -> None:
        _received.append(number)
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        # Not through a console: it may be in the middle of a write when the signal comes.
        with contextlib.suppress(OSError):
            if speaks() and notice is not None:
                os.write(2, f"\n{first if _finishing else at_once}\n".encode())
        if not _finishing:
            raise Cancelled

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
