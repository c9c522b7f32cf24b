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
from tunesmith.server.documents import Document, Usage, chat_scores, citations, new_call_id
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
        """The items of an answer: its thinking, what it says, and its calls."""
        calls = self.chat.rules.calls(answer)
        said = self.chat.rules.said(answer, calls)
        items = [reasoning_item(reasoning_id(), answer.thinking)] if answer.thinking else []
        if said or not calls:
            scores = self.scores(answer.tokens)
            items.append(self.message(message_id(), said, answer.reason, scores))
        return [*items, *(call_item(call) for call in calls)]

    def message(self, name: str, said: str, reason: str | None, scores: list[Document]) -> Document:
        """The item of what is said, which has ended, with its citations and scores."""
        status = "incomplete" if reason == "length" else "completed"
        part = text_part(said, citations(said, self.chat.cited), scores)
        return message_item(name, status, [part])

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


def reasoning_id() -> str:
    """A new item's of thinking."""
    return f"rs_{secrets.token_hex(24)}"


def reasoning_item(name: str, text: str) -> Document:
    """What was thought as an item."""
    content = [{"type": "reasoning_text", "text": text}]
    return {"id": name, "type": "reasoning", "summary": [], "content": content}


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
        "call_id": new_call_id(),
        "name": call.name,
        "arguments": json.dumps(call.arguments, ensure_ascii=False),
    }


def _usage(usage: Usage) -> Document:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.reused, "cache_write_tokens": 0},
        "output_tokens": usage.made,
        "output_tokens_details": {"reasoning_tokens": usage.thought},
        "total_tokens": usage.prompt + usage.made,
    }


class ResponsePieces(Pieces):
    """The events of a response. Where tools may be called, what is said comes when it is complete.

    Items come one after the other: thinking, what is said, calls. Of the one that grows there are
    its ``kind``, ``name`` and ``text``; "" without any.
    """

    closing = ""

    def __init__(self, frame: ResponseFrame, keep: Callable[[Document], Document]) -> None:
        self._frame, self._keep = frame, keep
        self._number = 0
        self._output: list[Document] = []  # complete items
        self._kind = self._name = self._text = ""
        self._scores: list[Document] = []  # of the message that grows
        self._sent = 0  # of these
        self._reason: str | None = None

    def first(self, count: int) -> Iterable[Document]:  # noqa: ARG002
        """The response that begins."""
        for kind in ("created", "in_progress"):
            yield self._event(kind, response=self._frame.document([]))

    def next(self, number: int, event: Event, so_far: ServedAnswer) -> Iterable[Document]:  # noqa: ARG002
        """The thinking and the text that came, and at the end the rest of the items."""
        is_end, tools = isinstance(event, AnswerEnd), self._frame.chat.rules.tools
        if not is_end:
            self._scores += self._frame.scores(so_far.tokens[-1:])
        if event.thinking:
            yield from self._grow("reasoning", event.thinking)
        if event.text and not tools:
            yield from self._grow("message", event.text)
        if is_end:
            yield from self._end(so_far)

    def _end(self, answer: ServedAnswer) -> Iterable[Document]:
        rules, self._reason = self._frame.chat.rules, answer.reason
        calls = rules.calls(answer)
        said = rules.said(answer, calls) if rules.tools else ""
        is_silent = not calls and self._kind != "message"
        if said or is_silent or len(self._scores) > self._sent:
            yield from self._grow("message", said)
        yield from self._close()
        for call in calls:
            yield from self._call(call_item(call))

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

    def _of_part(self, kind: str, **more: object) -> Document:
        place = {"item_id": self._name, "output_index": len(self._output), "content_index": 0}
        return self._event(kind, **place, **more)

    def _of_item(self, kind: str, item: Document) -> Document:
        return self._event(f"output_item.{kind}", output_index=len(self._output), item=item)

    def _grow(self, kind: str, text: str) -> Iterable[Document]:
        """Append to the item of this kind; it begins with its first text."""
        if self._kind != kind:
            yield from self._close()
            yield from self._begin(kind)
        self._text += text
        if kind == "reasoning":
            yield self._of_part("reasoning_text.delta", delta=text)
            return
        scores, self._sent = self._scores[self._sent :], len(self._scores)
        if text or scores:
            yield self._of_part("output_text.delta", delta=text, logprobs=scores)

    def _begin(self, kind: str) -> Iterable[Document]:
        self._kind, self._text = kind, ""
        if kind == "reasoning":
            self._name = reasoning_id()
            yield self._of_item("added", {**reasoning_item(self._name, ""), "content": []})
            return
        self._name = message_id()
        yield self._of_item("added", message_item(self._name, "in_progress", []))
        yield self._of_part("content_part.added", part=text_part("", [], []))

    def _close(self) -> Iterable[Document]:
        """Complete the item that grows, if one does."""
        if not self._kind:
            return
        if self._kind == "reasoning":
            item = reasoning_item(self._name, self._text)
            yield self._of_part("reasoning_text.done", text=self._text)
        else:
            item = self._frame.message(self._name, self._text, self._reason, self._scores)
            yield from self._close_text(item["content"][0])
            self._scores, self._sent = [], 0
        yield self._of_item("done", item)
        self._output.append(item)
        self._kind = ""

    def _close_text(self, part: Document) -> Iterable[Document]:
        for number, each in enumerate(part["annotations"]):
            more = {"annotation_index": number, "annotation": each}
            yield self._of_part("output_text.annotation.added", **more)
        yield self._of_part("output_text.done", text=part["text"], logprobs=part["logprobs"])
        yield self._of_part("content_part.done", part=part)

    def _call(self, item: Document) -> Iterable[Document]:
        at = {"item_id": item["id"], "output_index": len(self._output)}
        kind, arguments = "function_call_arguments", item["arguments"]
        yield self._of_item("added", {**item, "status": "in_progress", "arguments": ""})
        yield self._event(f"{kind}.delta", **at, delta=arguments)
        yield self._event(f"{kind}.done", **at, name=item["name"], arguments=arguments)
        yield self._of_item("done", item)
        self._output.append(item)
