"""How long work goes: who is told of it, who may stop it, and how many processors it may use."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tunesmith.train.events import Event, Progress, usable_cores

SECONDS_BETWEEN_EVENTS = 0.25
STEPS_BETWEEN_LOOKS = 256
LEAST_MADE, LEAST_SHARE = 2, 0.05  # of the work, before a time left is told


def time_left(seconds: float, made: int, left: float) -> float | None:
    """Seconds for what is ``left`` at the speed so far; None until that rests on something.

    Work begins with what is done once (a load, a first batch of answers, of which one ends first),
    so that the first part or two say nothing of the rest.
    """
    if made < max(LEAST_MADE, LEAST_SHARE * (made + left)):
        return None
    return seconds / made * max(0, left)


def silent(_: Event) -> None:
    """For callers that show nothing."""


@dataclass(frozen=True, slots=True)
class Course:
    """Processor threads (None: all that there are), who hears events, and who may stop the work."""

    threads: int | None = None
    emit: Callable[[Event], None] = silent
    stop: Callable[[], bool] = lambda: False

    @property
    def processes(self) -> int:
        """How many processes may work at once."""
        return self.threads or usable_cores()

    def progress(self, phase: str) -> Callable[[int, int], bool]:
        """Tells how far a phase is; False once a stop is asked for."""
        start, first = time.monotonic(), list[int]()

        def go_on(done: int, total: int) -> bool:
            first.append(done)  # what was known before took no time
            made, spent = done - first[0], time.monotonic() - start
            self.emit(Progress(phase, done, total, time_left(spent, made, total - done)))
            return not self.stop()

        return go_on


QUIET = Course()


@dataclass(slots=True)
class Clock:
    """Tells now and then how far each phase of the work is; phases of an instant pass silently."""

    course: Course
    _phase: str = ""
    _start: float = 0.0
    _told: float = 0.0
    _steps: int = field(default=0)

    def at(self, phase: str, done: int, total: int | None) -> None:
        """So much is done; raises KeyboardInterrupt where a stop is asked for in a longer phase."""
        now = time.monotonic()
        if phase != self._phase:
            self._phase, self._start, self._told = phase, now, now
        if now - self._told < SECONDS_BETWEEN_EVENTS:
            return
        self._told = now
        if self.course.stop():
            raise KeyboardInterrupt
        left = time_left(now - self._start, done, total - done) if total else None
        self.course.emit(Progress(phase, done, total, left))

    def step(self, phase: str, total: int) -> None:
        """One more of many small steps is done."""
        self._steps = self._steps + 1 if phase == self._phase else 1
        if self._steps == 1 or self._steps % STEPS_BETWEEN_LOOKS == 0:
            self.at(phase, self._steps, total)
