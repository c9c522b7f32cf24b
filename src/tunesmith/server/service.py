"""How a request is answered: whole or as a stream of events, while its client is there."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from tunesmith.core.errors import TunesmithError
from tunesmith.core.numbers import pluralize
from tunesmith.data.thinking import END_TOKENS, ThinkingText, closing_of
from tunesmith.data.tokenizer import decode
from tunesmith.generation.answer_text import Decode
from tunesmith.generation.decoder import Prompt
from tunesmith.generation.request import AnswerRequest, MadeToken
from tunesmith.generation.running import Constraint
from tunesmith.generation.sampling import Sampling
from tunesmith.server.answers import (
    AnswerStream,
    ClientLeft,
    Event,
    FixedAnswer,
    ServedAnswer,
)
from tunesmith.server.documents import Document, Usage, event_of, usage_of
from tunesmith.server.errors import ApiError, document_of, status_of
from tunesmith.server.metrics import Metrics, Watch
from tunesmith.server.protocol import Generation
from tunesmith.server.served import ServedModels
from tunesmith.server.stored import StoredResponses
from tunesmith.server.traces import span_of

CLIENT_LEFT = 499
SEND_SECONDS = 60.0  # so long may a client not read what it asked for
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


@dataclass(frozen=True, slots=True)
class Service:
    """What endpoints need: the models, the counts, the longest time of a request."""

    served: ServedModels
    metrics: Metrics
    request_seconds: float | None
    stored: StoredResponses = field(default_factory=StoredResponses)


def client_of(request: Request) -> str:
    """Whose API key a request has; "" where none is asked for."""
    return str(getattr(request.state, "client", ""))


class Asked:
    """One request while it is answered: its model's adapter is held until ``finish``.

    ``decode`` makes text of the model's tokens.
    """

    def __init__(self, service: Service, request: Request, adapter: str | None) -> None:
        self.service, self.adapter = service, adapter
        self.watch, self.span = Watch(service.metrics), span_of(request.state)
        tokenizer = service.served.shared.loaded.tokenizer(adapter)
        self.decode: Decode = lambda ids: decode(tokenizer, ids)
        self.client = client_of(request)
        self.answers: AnswerStream | FixedAnswer = AnswerStream(
            service.served.thread, request.is_disconnected
        )
        self.prompt_tokens = 0
        self.count = 0
        self._held = True

    def submit(
        self,
        prompts: Sequence[Prompt],
        body: Generation,
        *,
        limit: int | None,
        top_scores: int | None,
        constrain: Callable[[], Constraint] | None = None,
    ) -> None:
        """Ask for the answers of each prompt; raises what ``AnswerStream.submit`` raises.

        Answers to a prompt draw from the same seed, each from random numbers of its own. Of a chat
        that nothing constrains the thinking is taken apart.
        """
        penalties = body.penalties
        if penalties is not None:
            self.service.served.require_tokens(penalties.bias, "logit_bias")
        sampling = self._sampling(body, limit)
        seed = secrets.randbits(31) if body.seed is None else body.seed
        is_split = body.thinks and constrain is None
        requests = [
            AnswerRequest(
                replace(prompt, draw=draw),
                sampling,
                self.decode,
                seed=seed,
                client=self.client,
                seconds=self.service.request_seconds,
                top_scores=top_scores,
                constraint=constrain and constrain(),
                penalties=penalties,
                thinking=self._thinking(prompt) if is_split else None,
            )
            for prompt in prompts
            for draw in range(body.n or 1)
        ]
        self.span.begin(body, limit=limit, count=body.n or 1)
        self.prompt_tokens = sum(len(prompt.ids) for prompt in prompts)
        self.count = len(requests)
        limits = self.service.served.thread.scheduler.limits
        most = min(limits.waiting, limits.per_client or self.count)
        if self.count > most:
            raise ApiError(
                f"The request asks for {pluralize(self.count, 'answer')} at once, and each client "
                f"may have {most:,} here. Ask in several requests."
            )
        assert isinstance(self.answers, AnswerStream)
        self.answers.submit(requests)

    def _thinking(self, prompt: Prompt) -> ThinkingText:
        return ThinkingText(closing_of(self.decode(prompt.ids[-END_TOKENS:])))

    def _sampling(self, body: Generation, limit: int | None) -> Sampling:
        context = self.service.served.context
        return Sampling(
            temperature=1.0 if body.temperature is None else body.temperature,
            top_p=1.0 if body.top_p is None else body.top_p,
            max_new_tokens=min(limit or context, context),
            stop=body.stops,
            top_k=max(0, body.top_k or 0),
            min_p=body.min_p or 0.0,
        )

    def answer(self, text: str) -> None:
        """Give an answer that no model makes."""
        self.answers, self.count = FixedAnswer(text), 1

    async def collected(self) -> list[ServedAnswer]:
        """All answers when they are complete; raises what ``AnswerStream.events`` raises."""
        try:
            found = [ServedAnswer() for _ in range(self.count)]
            async for number, event in self.answers.events():
                if isinstance(event, MadeToken):
                    self.watch.token()
                found[number].add(event)
            self.end(found)
            return found
        finally:
            self.finish()

    def end(self, found: Sequence[ServedAnswer]) -> None:
        """Count what was answered."""
        self.watch.end()
        self.span.end(usage_of(self.prompt_tokens, found), [str(each.reason) for each in found])

    async def whole(self, make: Callable[[list[ServedAnswer]], Document]) -> Response:
        """All answers in one document."""
        try:
            return JSONResponse(make(await self.collected()))
        except ClientLeft:
            return Response(status_code=CLIENT_LEFT)

    def stream(self, pieces: "Pieces", *, counts_usage: bool) -> Response:
        """The answers as they are made."""
        return _EventStream(self, _events(self, pieces, counts_usage=counts_usage))

    def finish(self) -> None:
        """Free what the request holds; nothing happens the second time."""
        if self._held:
            self._held = False
            self.answers.close()
            self.service.served.release(self.adapter)


class Pieces:
    """Makes the documents of a stream."""

    def first(self, count: int) -> Iterable[Document]:
        """What comes before any token."""
        raise NotImplementedError

    def next(self, number: int, event: Event, so_far: ServedAnswer) -> Iterable[Document]:
        """What an event becomes; ``so_far`` holds it already."""
        raise NotImplementedError

    def usage(self, usage: Usage) -> Document:
        """The last one, which counts tokens."""
        raise NotImplementedError

    def failure(self, error: TunesmithError) -> Document:
        """What reports an error in the middle; the status was sent before."""
        return document_of(error)

    def write(self, document: Document) -> str:
        """A document as a server-sent event."""
        return event_of(document)

    closing = "data: [DONE]\n\n"
    """What follows the last document of a stream without a fault."""


async def _events(asked: Asked, pieces: Pieces, *, counts_usage: bool) -> AsyncIterator[str]:
    found = [ServedAnswer() for _ in range(asked.count)]
    try:
        for document in pieces.first(asked.count):
            yield pieces.write(document)
        async for number, event in asked.answers.events():
            if isinstance(event, MadeToken) and asked.watch.token():
                asked.span.first_token()
            found[number].add(event)
            for document in pieces.next(number, event, found[number]):
                yield pieces.write(document)
    except TunesmithError as error:
        asked.span.fail(error, status_of(error))
        yield pieces.write(pieces.failure(error))
        return
    except ClientLeft:
        return
    asked.end(found)
    if counts_usage:
        yield pieces.write(pieces.usage(usage_of(asked.prompt_tokens, found)))
    yield pieces.closing


class _EventStream(StreamingResponse):
    """A stream that frees its rows however it ends, also where it never began."""

    def __init__(self, asked: Asked, events: AsyncIterator[str]) -> None:
        super().__init__(events, media_type="text/event-stream", headers=STREAM_HEADERS)
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def taken(message: Message) -> None:
            """A client that does not read would hold its model's adapter on the base."""
            await asyncio.wait_for(send(message), SEND_SECONDS)

        try:
            with contextlib.suppress(ClientDisconnect):
                await super().__call__(scope, receive, taken)
        finally:
            self._asked.finish()
