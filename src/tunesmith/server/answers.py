"""The answers to one request, from the engine's thread to the event loop, while they are made."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tunesmith.core.errors import TunesmithError
from tunesmith.generation.engine_thread import EngineThread
from tunesmith.generation.request import AnswerEnd, AnswerJob, AnswerRequest, MadeToken

Event = MadeToken | AnswerEnd
LOOK_SECONDS = 0.05  # between two looks whether the client is still there


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


class AnswerStream:
    """Requests that were submitted together, numbered from 0; ``close`` ends what still runs."""

    def __init__(self, thread: EngineThread, is_gone: Callable[[], Awaitable[bool]]) -> None:
        self._thread, self._is_gone = thread, is_gone
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()
        self._jobs: list[AnswerJob] = []

    def submit(self, requests: Sequence[AnswerRequest]) -> None:
        """Ask all of them; raises what ``Scheduler.submit`` raises, and then asks none."""
        try:
            for number, request in enumerate(requests):
                self._jobs.append(self._thread.submit(request, self._listener(number)))
        except TunesmithError:
            self.close()
            raise

    def _listener(self, number: int) -> Callable[[Event], object]:
        def hear(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server ends
                self._loop.call_soon_threadsafe(self._queue.put_nowait, (number, event))

        return hear

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """What happens to which answer, until all have ended.

        Raises ClientLeft where the client has left, and the error of an answer that failed or took
        too long.
        """
        left, looked = len(self._jobs), self._loop.time()
        while left:
            event = None
            with contextlib.suppress(TimeoutError):
                event = await asyncio.wait_for(self._queue.get(), LOOK_SECONDS)
            if self._loop.time() - looked >= LOOK_SECONDS:
                looked = self._loop.time()
                if await self._is_gone():
                    raise ClientLeft
            if event is None and not self._thread.is_alive:
                raise TunesmithError("The engine has stopped.", code="stopped")
            if event is None:
                continue
            if isinstance(event[1], AnswerEnd):
                left -= 1
                if event[1].reason == "timeout":
                    raise TunesmithError("The answer took too long.", code="timeout")
                if event[1].error is not None:
                    raise event[1].error
            yield event

    def close(self) -> None:
        """Free the rows of all that was not answered to the end."""
        for job in self._jobs:
            self._thread.cancel(job)


class FixedAnswer:
    """An answer that no model makes, as an ``AnswerStream`` of one."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def events(self) -> AsyncIterator[tuple[int, Event]]:
        """Its end, which holds all of it."""
        yield 0, AnswerEnd("stop", self._text)

    def close(self) -> None:
        """Nothing."""


@dataclass(slots=True)
class ServedAnswer:
    """One answer as far as it is made; ``thought`` counts its tokens up to the last of thinking."""

    text: str = ""
    tokens: list[MadeToken] = field(default_factory=list)
    reason: str | None = None
    reused: int = 0
    thinking: str = ""
    thought: int = 0

    def add(self, event: Event) -> None:
        """Take what happened to it."""
        self.text += event.text
        if isinstance(event, MadeToken):
            self.tokens.append(event)
        else:
            self.reason, self.reused = event.reason, event.reused
        if event.thinking:
            self.thinking += event.thinking
            self.thought = len(self.tokens)
