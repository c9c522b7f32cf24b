"""POST /v1/chat/completions: a conversation, and what the model says next."""

from collections.abc import Callable, Iterable, Sequence

from fastapi import Request
from fastapi.responses import Response

from tunesmith.data.faults import RowNotes
from tunesmith.data.formats.chats import parse_messages
from tunesmith.data.formats.layout import parse_tools
from tunesmith.data.rows import Message, Tool, ToolCall
from tunesmith.evaluation.checks.tool_call import calls_in
from tunesmith.generation.answer_text import Decode
from tunesmith.generation.request import AnswerEnd
from tunesmith.server.answers import Event, ServedAnswer
from tunesmith.server.documents import (
    Document,
    Frame,
    call_document,
    chat_choice,
    chat_frame,
    chat_scores,
    usage_of,
)
from tunesmith.server.errors import ApiError
from tunesmith.server.protocol import ChatRequest
from tunesmith.server.service import Asked, Pieces, Service

ROLES = ("system", "developer", "user", "assistant", "tool")


async def chat(service: Service, request: Request, body: ChatRequest) -> Response:
    """Answer a conversation; raises TunesmithError for what is refused."""
    messages, tools = read_messages(body), read_tools(body)
    adapter = await service.served.acquire(body.model)
    asked = Asked(service, request, adapter)
    try:
        prompt = await service.served.chat_prompt(messages, adapter, tools)
        schema = body.schema_of_answer
        bound = None if schema is None else await service.served.json_constraint(adapter, schema)
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
    frame = chat_frame(body.model)
    scored = asked.decode if body.logprobs else None
    if body.stream:
        pieces = ChatPieces(frame, tools, scored)
        return asked.stream(pieces, counts_usage=body.counts_usage)

    def document(found: list[ServedAnswer]) -> Document:
        choices = [
            chat_choice(i, answer, calls_of(answer, tools), scored)
            for i, answer in enumerate(found)
        ]
        return frame.whole(choices, usage_of(asked.prompt_tokens, found))

    return await asked.whole(document)


def read_messages(body: ChatRequest) -> list[Message]:
    """The messages of a request, as data files of this format are read; ApiError for a fault."""
    notes = RowNotes()
    messages = parse_messages(body.messages, notes, column="messages")
    _require(notes, "messages")
    if strange := [message.role for message in messages if message.role not in ROLES]:
        what = f"A message is by {strange[0][:40]!r}, which is none of {', '.join(ROLES)}."
        raise ApiError(what, param="messages")
    if messages[-1].role == "assistant":
        raise ApiError("The last message is the assistant's: ask something.", param="messages")
    return messages


def read_tools(body: ChatRequest) -> tuple[Tool, ...]:
    """The tools that may be called; ApiError for a fault."""
    if not body.tools or body.tool_choice == "none":
        return ()
    notes = RowNotes()
    tools = parse_tools({"tools": body.tools}, notes)
    _require(notes, "tools")
    return tools


def _require(notes: RowNotes, param: str) -> None:
    if notes.problems:
        fault = notes.problems[0]
        raise ApiError(f"{fault.message} {fault.remedy}".strip(), code=fault.code, param=param)


def calls_of(answer: ServedAnswer, tools: Sequence[Tool]) -> list[ToolCall]:
    """The calls that an answer makes of these tools; none where it was cut."""
    if not tools or answer.reason != "stop":
        return []
    names = {str(_function(tool).get("name")) for tool in tools}
    return [call for call in calls_in(answer.text) if call.name in names]


def _function(tool: Tool) -> Document:
    function = tool.get("function")
    return function if isinstance(function, dict) else {}


class ChatPieces(Pieces):
    """The stream of a chat. Where tools may be called, an answer comes when it is complete.

    ``more`` is what the last piece says of an answer.
    """

    def __init__(
        self,
        frame: Frame,
        tools: Sequence[Tool],
        scored: Decode | None,
        more: Callable[[ServedAnswer], Document] = lambda _: {},
    ) -> None:
        self._frame, self._tools, self._scored, self._more = frame, tools, scored, more

    def first(self, count: int) -> Iterable[Document]:
        """Each answer's role."""
        for i in range(count):
            yield self._piece(i, {"role": "assistant", "content": ""})

    def next(self, number: int, event: Event, so_far: ServedAnswer) -> Iterable[Document]:
        """The text that came, and at the end the reason."""
        is_end = isinstance(event, AnswerEnd)
        calls = calls_of(so_far, self._tools) if is_end else []
        text = so_far.text if self._tools and is_end else "" if self._tools else event.text
        scores = None
        if self._scored is not None and not is_end:
            scores = chat_scores(so_far.tokens[-1:], self._scored)
        if calls:
            listed = [{"index": i, **call_document(call)} for i, call in enumerate(calls)]
            yield self._piece(number, {"tool_calls": listed})
        elif text or scores is not None:
            yield self._piece(number, {"content": text}, logprobs=scores)
        if is_end:
            reason = "tool_calls" if calls else so_far.reason
            yield self._piece(number, self._more(so_far), reason=reason)

    def usage(self, document: Document) -> Document:
        """A piece without a choice."""
        return self._frame.piece([], usage=document)

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
