"""POST /v1/completions: texts that the model continues, without a chat template."""

from collections.abc import Iterable

from fastapi import Request
from fastapi.responses import Response

from tunesmith.generation.answer_text import Decode
from tunesmith.generation.request import AnswerEnd
from tunesmith.server.answers import Event, ServedAnswer
from tunesmith.server.documents import (
    Document,
    Frame,
    Usage,
    completion_choice,
    completion_frame,
    completion_scores,
    usage_of,
)
from tunesmith.server.protocol import CompletionRequest
from tunesmith.server.service import Asked, Pieces, Service


async def complete(service: Service, request: Request, body: CompletionRequest) -> Response:
    """Continue each prompt; raises TunesmithError for what is refused."""
    adapter = await service.served.acquire(body.model)
    asked = Asked(service, request, adapter)
    try:
        prompts = await service.served.text_prompts(body.prompts, adapter)
        asked.submit(prompts, body, limit=body.max_tokens, top_scores=body.logprobs)
    except BaseException:
        asked.finish()
        raise
    frame = completion_frame(body.model)
    asked.span.named(frame.name)
    scored = None if body.logprobs is None else asked.decode
    if body.stream:
        return asked.stream(_TextPieces(frame, scored), counts_usage=body.counts_usage)

    def document(found: list[ServedAnswer]) -> Document:
        choices = [completion_choice(i, answer, scored) for i, answer in enumerate(found)]
        return frame.whole(choices, usage_of(asked.prompt_tokens, found))

    return await asked.whole(document)


class _TextPieces(Pieces):
    """The stream of a completion."""

    def __init__(self, frame: Frame, scored: Decode | None) -> None:
        self._frame, self._scored = frame, scored

    def first(self, count: int) -> Iterable[Document]:  # noqa: ARG002
        """Nothing."""
        return ()

    def next(self, number: int, event: Event, so_far: ServedAnswer) -> Iterable[Document]:
        """The text that came, or the reason at the end with what was held back."""
        is_end, scores = isinstance(event, AnswerEnd), None
        if self._scored is not None and not is_end:
            start = len(so_far.text) - len(event.text)
            scores = completion_scores(so_far.tokens[-1:], self._scored, start)
        if event.text or scores is not None or is_end:
            reason = so_far.reason if is_end else None
            choice = {"index": number, "text": event.text, "logprobs": scores}
            yield self._frame.piece([{**choice, "finish_reason": reason}])

    def usage(self, usage: Usage) -> Document:
        """A piece without a choice."""
        return self._frame.piece([], usage=usage.to_json())
