"""How Ctrl-C and SIGTERM end work in good order: the first asks, the second insists."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stop_on_signal(notice: str) -> Iterator[Callable[[], bool]]:
    """Whether a stop was asked for; the first signal says ``notice``, a second one interrupts.

    Outside the main thread, where signals cannot be caught, the answer stays no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        # Not through a console: it may be in the middle of a write when the signal comes.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{notice}\n".encode())

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
