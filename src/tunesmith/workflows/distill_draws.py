"""The draws of a distillation: sample by sample, for all inputs that still lack an answer."""

import time
from collections.abc import Callable, Sequence

from tunesmith.config.distill import DistillSettings
from tunesmith.generate.loop import SLOTS
from tunesmith.train.events import Event, Progress
from tunesmith.workflows.course import time_left
from tunesmith.workflows.distill_state import State
from tunesmith.workflows.teacher import Teacher

PHASE = "answering the inputs"
SAME_ANSWER = "same_answer"
SECONDS_BETWEEN_SAVES = 20.0


def draw(
    state: State,
    asked: DistillSettings,
    teacher: Teacher,
    *,
    emit: Callable[[Event], None],
    stop: Callable[[], bool],
) -> None:
    """Draw into ``state`` until no input lacks an answer or a stop is asked for; save it.

    What counts is whole waves of inputs that are answered together. A resumed run so computes the
    same waves as an unbroken one, and the same answers to the last bit.
    """
    watch = _Watch(state, asked, emit)
    saved_at = time.monotonic()
    try:
        for sample in range(asked.samples):
            for wave in _waves(state, asked, teacher, sample):
                if stop():
                    return
                _draw_wave(state, teacher, wave, sample=sample, watch=watch)
                if time.monotonic() - saved_at >= SECONDS_BETWEEN_SAVES:
                    state.save()
                    saved_at = time.monotonic()
    finally:
        state.save()
        state.write_rows()


def _waves(state: State, asked: DistillSettings, teacher: Teacher, sample: int) -> list[list[int]]:
    """Inputs whose draw number ``sample`` is due, those of like lengths together."""
    due = [i for i, each in enumerate(state.draws) if each.count == sample and each.lacks(asked)]
    due.sort(key=teacher.length)
    return [due[start : start + SLOTS] for start in range(0, len(due), SLOTS)]


def _draw_wave(
    state: State, teacher: Teacher, wave: Sequence[int], *, sample: int, watch: "_Watch"
) -> None:
    watch.begin()
    answers = {}
    for answer in teacher.answers(wave, sample):
        answers[answer.number] = answer
        watch.tell()
    for number in wave:
        draws, answer = state.draws[number], answers[number]
        is_known = answer.fault is None and answer.text in draws.kept
        draws.add_(answer.text, SAME_ANSWER if is_known else answer.fault)


class _Watch:
    """How far the draws are, and how long the rest will take."""

    def __init__(self, state: State, asked: DistillSettings, emit: Callable[[Event], None]) -> None:
        self._state, self._asked, self._emit = state, asked, emit
        self._start = time.monotonic()
        self._made = 0
        self._left = 0.0

    def begin(self) -> None:
        """A wave begins."""
        self._left = draws_left(self._state, self._asked)
        self._send()

    def tell(self) -> None:
        """One more answer is there."""
        self._made += 1
        self._left = max(0.0, self._left - 1)
        self._send()

    def _send(self) -> None:
        total = len(self._state.draws)
        done = total - sum(draws.lacks(self._asked) for draws in self._state.draws)
        spent = time.monotonic() - self._start
        self._emit(Progress(PHASE, done, total, time_left(spent, self._made, self._left)))


def draws_left(state: State, asked: DistillSettings) -> float:
    """How many draws are still to come, if as large a share passes as did so far."""
    kept = sum(len(draws.kept) for draws in state.draws)
    share = (1 + kept) / (1 + sum(draws.count for draws in state.draws))
    return sum(
        min(asked.samples - draws.count, (asked.keep - len(draws.kept)) / share)
        for draws in state.draws
        if draws.lacks(asked)
    )
