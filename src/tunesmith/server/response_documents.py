"""Responses as documents: the whole of one, and the events of its stream."""

import json
import secrets
import time
from collections.abc import Callable, Iterable

from tunesmith.core.errors import TunesmithError
from tunesmith.data.rows import ToolCall
from tunesmith.generation.request import AnswerEnd, MadeToken
from tunesmith.server.answers import Event, ServedAnswer
from tunesmith.server.chats import AskedChat
from tunesmith.server.documents import Document, Usage, chat_scores, citations
from tunesmith.server.errors import document_of
from tunesmith.server.response_protocol import ResponseRequest
from tunesmith.server.service import Pieces


class ResponseFrame:
    """Makes the documents of one response."""

    def __init__(self, body: ResponseRequest, chat: AskedChat) -> None:
        self.body, self.chat = body, chat
        self.id, self.created = f"resp_{secrets.token_hex(24)}", int(time.time())

    def document(
        self,
        output: list[Document],
        *,
        reason: str | None = None,
        usage: Usage | None = None,
        error: Document | None = None,
    ) -> Document:
        """The whole response; ``reason`` is why the answer ended, None: it has not."""
        status = {None: "in_progress", "length": "incomplete"}.get(reason, "completed")
        cut = {"reason": "max_output_tokens"} if reason == "length" else None
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": "failed" if error else status,
            "error": error,
            "incomplete_details": cut,
            "model": self.body.model,
            "output": output,
            "usage": usage and _usage(usage),
            **self._asked(),
            **({} if self.chat.sources is None else {"sources": [*self.chat.sources]}),
        }

    def _asked(self) -> Document:
        """What was asked for; the defaults of what was not."""
        body = self.body
        return {
            "background": False,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "max_tool_calls": body.max_tool_calls,
            "metadata": body.metadata or {},
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "previous_response_id": body.previous_response_id,
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "default",
            "store": body.store is not False,
            "temperature": 1.0 if body.temperature is None else body.temperature,
            "text": body.text.model_dump(by_alias=True, exclude_none=True),
            "tool_choice": body.tool_choice or "auto",
            "tools": body.tools or [],
            "top_logprobs": body.top_logprobs or 0,
            "top_p": 1.0 if body.top_p is None else body.top_p,
            "truncation": "disabled",
            "user": body.user,
        }

    def output(self, answer: ServedAnswer) -> list[Document]:
        """The items of an answer: its calls, or its text."""
        calls = self.chat.rules.calls(answer)
        return [call_item(call) for call in calls] or [self.message(answer, message_id())]

    def message(self, answer: ServedAnswer, name: str) -> Document:
        """The item of an answer's text, which has ended."""
        status = "incomplete" if answer.reason == "length" else "completed"
        return message_item(name, status, [self.part(answer)])

    def part(self, answer: ServedAnswer) -> Document:
        """The text of an answer with its citations and scores."""
        found = citations(answer.text, self.chat.cited)
        return text_part(answer.text, found, self.scores(answer.tokens))

    def scores(self, tokens: list[MadeToken]) -> list[Document]:
        """Log-probabilities, where they are wanted."""
        if self.chat.scored is None:
            return []
        content: list[Document] = chat_scores(tokens, self.chat.scored)["content"]
        for each in content:
            for one in (each, *each["top_logprobs"]):
                one["bytes"] = one["bytes"] or []
        return content


def message_id() -> str:
    """A new message's."""
    return f"msg_{secrets.token_hex(24)}"


def message_item(name: str, status: str, content: list[Document]) -> Document:
    """A text of the assistant as an item."""
    head = {"id": name, "type": "message", "status": status, "role": "assistant"}
    return {**head, "content": content}


def text_part(text: str, annotations: list[Document], scores: list[Document]) -> Document:
    """A text as a part of a message."""
    part = {"type": "output_text", "text": text, "annotations": annotations}
    return {**part, "logprobs": scores}


def call_item(call: ToolCall) -> Document:
    """A call as an item, with ids of its own."""
    return {
        "id": f"fc_{secrets.token_hex(24)}",
        "type": "function_call",
        "status": "completed",
        "call_id": f"call_{secrets.token_hex(12)}",
        "name": call.name,
        "arguments": json.dumps(call.arguments, ensure_ascii=False),
    }


def _usage(usage: Usage) -> Document:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.reused, "cache_write_tokens": 0},
        "output_tokens": usage.made,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt + usage.made,
    }


class ResponsePieces(Pieces):
    """The events of a response. Where tools may be called, its items come when it is complete."""

    closing = ""

    def __init__(self, frame: ResponseFrame, keep: Callable[[Document], Document]) -> None:
        self._frame, self._keep = frame, keep
        self._number = 0
        self._message = message_id()
        self._output: list[Document] = []
        self._reason: str | None = None

    def first(self, count: int) -> Iterable[Document]:  # noqa: ARG002
        """The response that begins, and its text where it cannot be a call."""
        for kind in ("created", "in_progress"):
            yield self._event(kind, response=self._frame.document([]))
        if not self._frame.chat.rules.tools:
            yield from self._open_text()

    def next(self, number: int, event: Event, so_far: ServedAnswer) -> Iterable[Document]:  # noqa: ARG002
        """The text that came, and at the end the items."""
        is_end, tools = isinstance(event, AnswerEnd), self._frame.chat.rules.tools
        if not tools:
            scores = [] if is_end else self._frame.scores(so_far.tokens[-1:])
            if event.text or scores:
                yield self._delta(event.text, scores)
        if not is_end:
            return
        self._reason, self._output = so_far.reason, self._frame.output(so_far)
        if self._output[0]["type"] == "function_call":
            for place, item in enumerate(self._output):
                yield from self._call(place, item)
            return
        self._output = [self._frame.message(so_far, self._message)]
        if tools:
            yield from self._open_text()
            yield self._delta(so_far.text, self._frame.scores(so_far.tokens))
        yield from self._close_text(self._output[0])

    def usage(self, usage: Usage) -> Document:
        """The whole response."""
        kind = "incomplete" if self._reason == "length" else "completed"
        whole = self._frame.document(self._output, reason=self._reason, usage=usage)
        return self._event(kind, response=self._keep(whole))

    def failure(self, error: TunesmithError) -> Document:
        """The response that failed."""
        said = {"code": "server_error", "message": document_of(error)["error"]["message"]}
        return self._event("failed", response=self._frame.document([], error=said))

    def write(self, document: Document) -> str:
        """A server-sent event with its type."""
        return f"event: {document['type']}\n{super().write(document)}"

    def _event(self, kind: str, **more: object) -> Document:
        self._number += 1
        number = self._number - 1
        return {"type": f"response.{kind}", "sequence_number": number, **more}

    def _of_text(self, kind: str, **more: object) -> Document:
        place = {"item_id": self._message, "output_index": 0, "content_index": 0}
        return self._event(kind, **place, **more)

    def _open_text(self) -> Iterable[Document]:
        item = message_item(self._message, "in_progress", [])
        yield self._event("output_item.added", output_index=0, item=item)
        yield self._of_text("content_part.added", part=text_part("", [], []))

    def _delta(self, text: str, scores: list[Document]) -> Document:
        return self._of_text("output_text.delta", delta=text, logprobs=scores)

    def _close_text(self, item: Document) -> Iterable[Document]:
        (part,) = item["content"]
        for number, each in enumerate(part["annotations"]):
            more = {"annotation_index": number, "annotation": each}
            yield self._of_text("output_text.annotation.added", **more)
        yield self._of_text("output_text.done", text=part["text"], logprobs=part["logprobs"])
        yield self._of_text("content_part.done", part=part)
        yield self._event("output_item.done", output_index=0, item=item)

    def _call(self, place: int, item: Document) -> Iterable[Document]:
        at = {"item_id": item["id"], "output_index": place}
        kind, arguments = "function_call_arguments", item["arguments"]
        begun = {**item, "status": "in_progress", "arguments": ""}
        yield self._event("output_item.added", output_index=place, item=begun)
        yield self._event(f"{kind}.delta", **at, delta=arguments)
        yield self._event(f"{kind}.done", **at, name=item["name"], arguments=arguments)
        yield self._event("output_item.done", output_index=place, item=item)
