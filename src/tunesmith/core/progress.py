"""Events of long work, and who hears of it, who may stop it and how many processors it may use."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """A wait: what is being done, how much of it is done, of how much (None: unknown)."""

    phase: str
    done: int = 0
    total: int | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that was decided or happened and must not pass silently."""

    code: str  # dtype, too_long, inserted_system, resumed, not_exact, recompute, ...
    message: str


@dataclass(frozen=True, slots=True)
class Planned:
    """What the run will take, told before the first step."""

    steps: int
    first_step: int  # steps already done, on resume
    tokens_per_step: int
    tokens_per_micro_batch: int
    trainable_parameters: int
    peak_bytes: int  # expected
    seconds: float  # expected


@dataclass(frozen=True, slots=True)
class StepDone:
    """One optimizer step; losses are nats per supervised token."""

    step: int
    steps: int
    tokens: int  # real tokens since the start of the run
    loss: float
    lr: float
    grad_norm: float
    tokens_per_second: float  # of this step
    peak_bytes: int
    seconds: float  # since the start of this process's first step
    seconds_left: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A held-out loss after a step, and whether it is the lowest so far."""

    step: int
    loss: float
    best: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """A complete checkpoint."""

    step: int
    folder: str


@dataclass(frozen=True, slots=True)
class BestCheckpoint:
    """The checkpoint that became the result, why, and all that it was chosen from."""

    step: int
    reason: str
    unit: str
    checkpoints: tuple[dict[str, float | int | None], ...]


@dataclass(frozen=True, slots=True)
class Weakened:
    """At which share of its strength the result stands: a `forgetting.strength.Strength`."""

    share: float
    tried: float | None
    probe: str
    measure: str
    full: float
    now: float | None
    full_score: float | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of the loop: `done`, `stopped` (by the user) or `early` (no better loss)."""

    step: int
    reason: str


Event = Progress | Notice | Planned | StepDone | HeldOut | Saved | BestCheckpoint | Weakened | Ended


def usable_cores() -> int:
    """Cores that this process may run on, which a container can limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
