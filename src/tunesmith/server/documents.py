"""The documents that a client gets: whole answers, and the pieces of a stream."""

import json
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from string import ascii_letters, digits
from typing import Any

from tunesmith.data.call_format import ID_LENGTH
from tunesmith.data.rows import ToolCall
from tunesmith.data.tokenizer import HALF
from tunesmith.generation.answer_text import Decode
from tunesmith.generation.request import MadeToken, TokenScore
from tunesmith.retrieval.prompt import CITATION, CitedSource
from tunesmith.server.answers import ServedAnswer
from tunesmith.server.tools import ToolRules

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the prompts and of what was made.

    ``reused`` were read for earlier requests, and ``thought`` is the thinking in what was made.
    """

    prompt: int
    made: int
    reused: int = 0
    thought: int = 0

    def to_json(self) -> Document:
        """As OpenAI counts."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.made,
            "total_tokens": self.prompt + self.made,
            "prompt_tokens_details": {"cached_tokens": self.reused},
            "completion_tokens_details": {"reasoning_tokens": self.thought},
        }


def usage_of(prompt_tokens: int, answers: Sequence[ServedAnswer]) -> Usage:
    """The counts of a request's answers."""
    made = sum(len(answer.tokens) for answer in answers)
    reused = max((answer.reused for answer in answers), default=0)
    return Usage(prompt_tokens, made, reused, sum(answer.thought for answer in answers))


@dataclass(frozen=True, slots=True)
class Frame:
    """What every document of one request has: an id, the time, the model."""

    model: str
    prefix: str  # of the id
    kind: str  # of a whole answer
    piece_kind: str  # of a piece of a stream
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: list[Document], usage: Usage) -> Document:
        """The whole answer."""
        return {**self._head(self.kind), "choices": choices, "usage": usage.to_json()}

    def piece(self, choices: list[Document], **more: object) -> Document:
        """A piece of a stream."""
        return {**self._head(self.piece_kind), "choices": choices, **more}

    @property
    def name(self) -> str:
        """The id that a client gets."""
        return f"{self.prefix}-{self.id}"

    def _head(self, kind: str) -> Document:
        head = {"id": self.name, "object": kind, "created": self.created}
        return {**head, "model": self.model, "system_fingerprint": None}


def chat_frame(model: str) -> Frame:
    """Of a chat."""
    return Frame(model, "chatcmpl", "chat.completion", "chat.completion.chunk")


def completion_frame(model: str) -> Frame:
    """Of a completion."""
    return Frame(model, "cmpl", "text_completion", "text_completion")


def event_of(document: Document) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(document, ensure_ascii=False, separators=(',', ':'))}\n\n"


def chat_choice(
    index: int, answer: ServedAnswer, rules: ToolRules, decode: Decode | None
) -> Document:
    """An answer of a chat; ``decode`` where its tokens' scores are wanted."""
    calls = rules.calls(answer)
    said = rules.said(answer, calls)
    message: Document = {"role": "assistant", "content": said, "refusal": None}
    if answer.thinking:
        message["reasoning_content"] = answer.thinking
    if calls:
        listed = [call_document(call) for call in calls]
        message |= {"content": said or None, "tool_calls": listed}
    return {
        "index": index,
        "message": message,
        "logprobs": decode and chat_scores(answer.tokens, decode),
        "finish_reason": "tool_calls" if calls else answer.reason,
    }


def call_document(call: ToolCall) -> Document:
    """A call of a function, with an id of its own."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": new_call_id(), "type": "function", "function": function}


def new_call_id() -> str:
    """A new call's: some chat templates take no other kind than this."""
    return "".join(secrets.choice(ascii_letters + digits) for _ in range(ID_LENGTH))


def chat_scores(tokens: Sequence[MadeToken], decode: Decode) -> Document:
    """Log-probabilities as chats have them."""
    content = []
    for each in tokens:
        assert each.score is not None
        top = [_scored(token, value, decode) for token, value in each.score.top]
        content.append({**_scored(each.token, each.score.value, decode), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _scored(token: int, value: float, decode: Decode) -> Document:
    text = decode([token])
    # A part of a character has no bytes that decoding would give.
    known = None if HALF in text else list(text.encode())
    return {"token": text, "logprob": max(value, -9999.0), "bytes": known}


def completion_scores(tokens: Sequence[MadeToken], decode: Decode, start: int) -> Document:
    """Log-probabilities as completions have them; ``start``: characters before the first token."""
    texts = [decode([each.token]) for each in tokens]
    scores = [each.score or TokenScore(0.0) for each in tokens]
    offsets, at = [], start
    for each in tokens:
        offsets.append(at)
        at += len(each.text)
    return {
        "tokens": texts,
        "token_logprobs": [score.value for score in scores],
        "top_logprobs": [{decode([i]): value for i, value in score.top} for score in scores],
        "text_offset": offsets,
    }


def completion_choice(index: int, answer: ServedAnswer, decode: Decode | None) -> Document:
    """An answer of a completion."""
    scores = decode and completion_scores(answer.tokens, decode, 0)
    reason = answer.reason
    return {"index": index, "text": answer.text, "logprobs": scores, "finish_reason": reason}


def citations(text: str, sources: Sequence[CitedSource]) -> list[Document]:
    """Where an answer cites which source, as OpenAI has citations."""
    places = {source.number: source.place for source in sources}
    return [
        {
            "type": "url_citation",
            "start_index": match.start(),
            "end_index": match.end(),
            "title": places[int(number)],
            "url": places[int(number)],
        }
        for match in CITATION.finditer(text)
        for number in re.findall(r"\d+", match[0])
        if int(number) in places
    ]


def chat_annotations(text: str, sources: Sequence[CitedSource]) -> list[Document]:
    """The same as chats have them: what a citation says is below its type."""
    found = citations(text, sources)
    return [{"type": (kind := each.pop("type")), kind: each} for each in found]
