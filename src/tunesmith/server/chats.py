"""POST /v1/chat/completions: a conversation, and what the model says next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastapi import Request
from fastapi.responses import Response

from tunesmith.data.faults import RowNotes
from tunesmith.data.formats.chats import parse_messages
from tunesmith.data.rows import Message
from tunesmith.generation.answer_text import Decode
from tunesmith.generation.request import AnswerEnd
from tunesmith.retrieval.prompt import CitedSource
from tunesmith.server.answers import Event, ServedAnswer
from tunesmith.server.documents import (
    Document,
    Frame,
    Usage,
    call_document,
    chat_annotations,
    chat_choice,
    chat_frame,
    chat_scores,
    usage_of,
)
from tunesmith.server.errors import ApiError, require_no_fault
from tunesmith.server.protocol import ChatRequest
from tunesmith.server.service import Asked, Pieces, Service
from tunesmith.server.tools import NO_TOOLS, ToolRules, constrain_calls, read_tools

ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class AskedChat:
    """A chat that is being answered: by which rules, and from which sources, if any."""

    asked: Asked
    rules: ToolRules = NO_TOOLS
    scored: Decode | None = None
    cited: Sequence[CitedSource] = ()
    sources: Sequence[Document] | None = None


async def ask_model(service: Service, request: Request, body: ChatRequest) -> AskedChat:
    """Have a conversation answered; raises TunesmithError for what is refused."""
    messages, rules = read_messages(body), read_tools(body)
    adapter = await service.served.acquire(body.model)
    asked = Asked(service, request, adapter)
    try:
        prompt = await service.served.chat_prompt(messages, adapter, rules.tools)
        bound = None
        if rules.forced:
            rules, bound = await constrain_calls(service.served, adapter, rules)
        elif (schema := body.schema_of_answer) is not None:
            bound = await service.served.json_constraint(adapter, schema)
        asked.submit(
            [prompt],
            body,
            limit=body.limit,
            top_scores=body.top_scores,
            constrain=None if bound is None else bound.copy,
        )
    except BaseException:
        asked.finish()
        raise
    return AskedChat(asked, rules, asked.decode if body.logprobs else None)


async def chat(chat: AskedChat, body: ChatRequest) -> Response:
    """The answer, whole or as a stream."""
    frame, asked = chat_frame(body.model), chat.asked
    asked.span.named(frame.name)
    if body.stream:
        return asked.stream(ChatPieces(frame, chat), counts_usage=body.counts_usage)

    def document(found: list[ServedAnswer]) -> Document:
        choices = [
            chat_choice(i, answer, chat.rules, chat.scored) for i, answer in enumerate(found)
        ]
        if chat.sources is None:
            return frame.whole(choices, usage_of(asked.prompt_tokens, found))
        for choice, answer in zip(choices, found, strict=True):
            choice["message"]["annotations"] = chat_annotations(answer.text, chat.cited)
        whole = frame.whole(choices, usage_of(asked.prompt_tokens, found))
        return {**whole, "sources": [*chat.sources]}

    return await asked.whole(document)


def read_messages(body: ChatRequest) -> list[Message]:
    """The messages of a request, as data files of this format are read; ApiError for a fault."""
    notes = RowNotes()
    messages = parse_messages(body.messages, notes, column="messages")
    require_no_fault(notes, "messages")
    if strange := [message.role for message in messages if message.role not in ROLES]:
        what = f"A message is by {strange[0][:40]!r}, which is none of {', '.join(ROLES)}."
        raise ApiError(what, param="messages")
    if messages[-1].role == "assistant":
        raise ApiError("The last message is the assistant's: ask something.", param="messages")
    return messages


class ChatPieces(Pieces):
    """The stream of a chat. Where tools may be called, what is said comes when it is complete."""

    def __init__(self, frame: Frame, chat: AskedChat) -> None:
        self._frame, self._chat = frame, chat

    def first(self, count: int) -> Iterable[Document]:
        """Each answer's role."""
        for i in range(count):
            yield self._piece(i, {"role": "assistant", "content": ""})

    def next(self, number: int, event: Event, so_far: ServedAnswer) -> Iterable[Document]:
        """The thinking and the text that came, and at the end the reason."""
        rules, scored, is_end = self._chat.rules, self._chat.scored, isinstance(event, AnswerEnd)
        calls = rules.calls(so_far) if is_end else []
        text = event.text
        if rules.tools:
            text = rules.said(so_far, calls) if is_end else ""
        scores = None
        if scored is not None and not is_end:
            scores = chat_scores(so_far.tokens[-1:], scored)
        if event.thinking:
            yield self._piece(number, {"reasoning_content": event.thinking})
        if text or scores is not None:
            yield self._piece(number, {"content": text}, logprobs=scores)
        if calls:
            listed = [{"index": i, **call_document(call)} for i, call in enumerate(calls)]
            yield self._piece(number, {"tool_calls": listed})
        if is_end:
            more: Document = {}
            if self._chat.sources is not None:
                more = {"annotations": chat_annotations(so_far.text, self._chat.cited)}
            yield self._piece(number, more, reason="tool_calls" if calls else so_far.reason)

    def usage(self, usage: Usage) -> Document:
        """A piece without a choice."""
        return self._frame.piece([], usage=usage.to_json())

    def _piece(
        self,
        index: int,
        delta: Document,
        *,
        logprobs: Document | None = None,
        reason: str | None = None,
    ) -> Document:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._frame.piece([choice])
