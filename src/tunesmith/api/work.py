"""Long work of a verb: it is shown, reported to the caller, and can be cancelled."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tunesmith
from tunesmith.core.language import localized
from tunesmith.core.progress import (
    TOGETHER,
    Cancelled,
    Event,
    Notice,
    Progress,
    cancel_on_signal,
    finishing_first,
    never,
)
from tunesmith.core.ranks import speaks

if TYPE_CHECKING:
    from tunesmith.api.display import RunDisplay

OnEvent = Callable[[Event], None]
OnRunEvent = Callable[[str, Event], None]  # of one of several runs, by its name
_warned = {"torch": not tunesmith.torch_came_first}


@dataclass(frozen=True, slots=True)
class Working:
    """What long work takes: ``emit`` for its events, ``stop`` asks whether to cancel."""

    emit: OnEvent
    stop: Callable[[], bool]
    display: "RunDisplay"

    @property
    def progress(self) -> Progress:
        """The same, for work below that takes one object."""
        return Progress(self.emit, cancelled=self.stop)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed and must be shown again at the end."""
        return tuple(self.display.warnings)


@dataclass(frozen=True, slots=True)
class GroupWork:
    """As ``Working``, for several runs: each event comes with the name of its run."""

    emit: OnRunEvent
    stop: Callable[[], bool]
    warnings: Mapping[str, Sequence[str]]

    def progress_of(self, name: str) -> Progress:
        """What goes through the work of one run."""
        return Progress(partial(self.emit, name), cancelled=self.stop)


@contextlib.contextmanager
def working(
    notice: str = "",
    *,
    stopped: "str | Callable[[RunDisplay], str]" = "Stopped.",
    on_event: OnEvent | None = None,
    progress: bool | None = None,
) -> Iterator[Working]:
    """Show events and pass them to ``on_event``; Ctrl-C and SIGTERM cancel the work at once.

    Where it first completes a part, ``notice`` says so. It then raises Cancelled: ``stopped`` is
    what is kept, and the same call resumes; or it makes the whole message. ``progress``: whether
    it is shown on standard error; None: in a terminal and in a notebook.
    """
    from tunesmith.api.display import RunDisplay, console_for

    display = RunDisplay(console_for(progress))

    def emit(event: Event) -> None:
        display(event)
        if on_event is not None and speaks():
            on_event(event)

    def cancelled() -> Cancelled:
        if isinstance(stopped, str):
            return Cancelled(stopped, same_call=True)
        return Cancelled(stopped(display))

    with _torch_as_it_was(), display, _cancelled_as(cancelled), cancel_on_signal(notice) as stop:
        _warn_of_torch(emit)
        yield Working(emit, stop, display)


@contextlib.contextmanager
def working_on_runs(
    notice: str,
    *,
    resume: str,
    on_event: OnRunEvent | None = None,
    progress: bool | None = None,
) -> Iterator[GroupWork]:
    """``working`` for several runs."""
    from tunesmith.api.display import GroupDisplay, console_for

    display = GroupDisplay(console_for(progress))

    def emit(name: str, event: Event) -> None:
        display(name, event)
        if on_event is not None and speaks():
            on_event(name, event)

    def cancelled() -> Cancelled:
        return Cancelled(f"Stopped at once. {resume}")

    with _torch_as_it_was(), display, _cancelled_as(cancelled), cancel_on_signal(notice) as stop:
        _warn_of_torch(lambda event: emit(TOGETHER, event))
        yield GroupWork(emit, stop, display.warnings)


@contextlib.contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """What the work sets in torch, such as its threads, ends with it; this imports no torch."""
    before = None
    if "torch" in sys.modules:
        from tunesmith.engine.device import switches

        before = switches()
    try:
        yield
    finally:
        if device := sys.modules.get("tunesmith.engine.device"):
            device.switch_back(before or device.AT_FIRST)


@contextlib.contextmanager
def _cancelled_as(cancelled: Callable[[], Cancelled]) -> Iterator[None]:
    """Give an interrupt without a message the one that says how to resume."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if isinstance(interrupt, Cancelled) and interrupt.message:
            raise
        raise cancelled() from None


def _warn_of_torch(emit: OnEvent) -> None:
    """Once in a process: where torch was imported first, its threads still spin."""
    if not _warned["torch"]:
        _warned["torch"] = True
        emit(Notice("spin_count", torch_came_first_text()))


def torch_came_first_text() -> str:
    """What it costs that torch was imported before this package."""
    return (
        f"torch was imported before tunesmith, so {tunesmith.SPIN_COUNT} has no effect: beside "
        "other work on this machine, training may take twice as long; import tunesmith first"
    )


@contextlib.contextmanager
def cancelling(notice: str) -> Iterator[Callable[[], bool]]:
    """`cancel_on_signal` for work that asks and ends by itself; without a notice it never asks."""
    if not notice:
        yield never
        return
    with finishing_first(), cancel_on_signal(localized(notice)) as asked:
        yield asked


def errors_folder() -> Path:
    """Where the traceback of an unexpected error is written."""
    from tunesmith.models.cache import cache_root

    return cache_root() / "errors"
