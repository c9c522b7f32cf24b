"""What a request of /v1/responses may say, and the same as a request of a chat."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from tunesmith.server.protocol import (
    CHOICES,
    MAX_MESSAGES,
    MAX_TOOLS,
    MAX_TOP_SCORES,
    STRICT,
    ChatRequest,
    Generation,
    Json,
)

SCORES = "message.output_text.logprobs"
# What no answer here has, and what so can be asked for.
NEVER_HERE = frozenset({"reasoning.encrypted_content"})
TEXT_PARTS = ("input_text", "output_text", "reasoning_text", "text")


class TextFormat(BaseModel):
    """What form the answer has: text, a JSON object, or JSON of a schema."""

    model_config = STRICT
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema_: Json | None = Field(None, alias="schema")
    description: str | None = None
    strict: bool | None = None

    @model_validator(mode="after")
    def _has_a_schema(self) -> "TextFormat":
        if (self.schema_ is not None and bool(self.name)) != (self.type == "json_schema"):
            raise ValueError("name and schema are for the type json_schema, which needs both")
        return self


class TextSettings(BaseModel):
    """``verbosity`` is taken where it changes nothing."""

    model_config = STRICT
    format: TextFormat = TextFormat()
    verbosity: Literal["medium"] | None = None


class ResponseRequest(Generation):
    """POST /v1/responses."""

    input: str | list[Json] = Field(min_length=1)
    instructions: str | None = None
    previous_response_id: str | None = None
    max_output_tokens: int | None = Field(None, ge=1)
    text: TextSettings = TextSettings()
    tools: list[Json] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    include: list[str] | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_SCORES)
    max_tool_calls: int | None = Field(None, ge=1)  # of OpenAI's own tools, of which none is here
    # Taken where they change nothing, as some clients send them.
    background: Literal[False] | None = None
    truncation: Literal["disabled"] | None = None

    @field_validator("n", "stop")
    @classmethod
    def _of_chats(cls, value: object) -> object:
        if value is not None:
            raise ValueError("is not supported: it is a parameter of chats")
        return value

    @field_validator("input")
    @classmethod
    def _few(cls, given: str | list[Json]) -> str | list[Json]:
        if isinstance(given, list) and len(given) > MAX_MESSAGES:
            raise ValueError(f"must hold at most {MAX_MESSAGES:,} items (holds {len(given):,})")
        return given

    @field_validator("include")
    @classmethod
    def _known(cls, include: list[str] | None) -> list[str] | None:
        if strange := [each for each in include or () if each not in {SCORES, *NEVER_HERE}]:
            raise ValueError(f"cannot hold {strange[0][:60]!r}: there is {SCORES}")
        return include

    @model_validator(mode="after")
    def _go_together(self) -> "ResponseRequest":
        if self.top_logprobs is not None and not self.has_scores:
            raise ValueError(f"top_logprobs is for requests that include {SCORES}")
        if self.tool_choice is not None and not self.tools:
            raise ValueError("tool_choice is for requests with tools")
        if self.tool_choice not in (None, *CHOICES) and self._named is None:
            raise ValueError(f"tool_choice must be {', '.join(CHOICES)} or a function's name")
        if self.tools and self.tool_choice != "none" and self.text.format.type != "text":
            raise ValueError("text.format and tools cannot be asked for together")
        return self

    @property
    def has_scores(self) -> bool:
        """Whether the log-probabilities of tokens are wanted."""
        return SCORES in (self.include or ())

    @property
    def _named(self) -> str | None:
        match self.tool_choice:
            case {"type": "function", "name": str(name), **rest}:
                return None if rest else name
        return None

    @property
    def items(self) -> list[Json]:
        """The input as a list; raises what ``messages_of`` cannot read later."""
        if isinstance(self.input, str):
            return [{"type": "message", "role": "user", "content": self.input}]
        return self.input

    def as_chat(self, items: Sequence[Json]) -> ChatRequest:
        """The same of a chat, after ``items`` of earlier responses and this one.

        Raises ValueError with what an item is that cannot be read, and ValidationError.
        """
        form, named = self.text.format, self._named
        messages = messages_of(items)
        if self.instructions:
            messages.insert(0, {"role": "system", "content": self.instructions})
        shared = self.model_dump(include=set(Generation.model_fields), exclude_none=True)
        schema = {"name": form.name, "schema": form.schema_}
        choice: object = self.tool_choice
        if named is not None:
            choice = {"type": "function", "function": {"name": named}}
        return ChatRequest.model_validate(
            {
                **shared,
                "messages": messages,
                "max_tokens": self.max_output_tokens,
                "logprobs": self.has_scores or None,
                "top_logprobs": self.top_logprobs,
                "tools": self.tools and [_chat_tool(tool) for tool in self.tools],
                "tool_choice": choice,
                "parallel_tool_calls": self.parallel_tool_calls,
                "response_format": {
                    "type": form.type,
                    **({"json_schema": schema} if form.type == "json_schema" else {}),
                },
            }
        )


def _chat_tool(tool: Json) -> Json:
    """A function as chats have it; ValueError for one of OpenAI's own tools."""
    kind = tool.get("type")
    if kind != "function":
        raise ValueError(f"`tools` can be functions only, and there is {str(kind)[:60]!r}")
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}


def messages_of(items: Sequence[Json]) -> list[Json]:
    """Items of responses as messages of a chat; ValueError for one that cannot be read.

    A call belongs to the assistant's message before it, thinking to the one after it.
    """
    messages: list[Json] = []
    thought: Json = {}
    for number, item in enumerate(items, start=1):
        kind = item.get("type", "message")
        if kind == "message":
            said = {"role": item.get("role"), "content": _content(item, number)}
            messages.append(said | (thought if said["role"] == "assistant" else {}))
            thought = {}
        elif kind == "reasoning":
            thought = {"reasoning_content": _content(item, number)}
        elif kind == "function_call":
            if thought or not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": "", **thought})
                thought = {}
            messages[-1].setdefault("tool_calls", []).append(_call(item, number))
        elif kind == "function_call_output":
            text = _content({"content": item.get("output")}, number)
            result = {"role": "tool", "content": text, "tool_call_id": item.get("call_id")}
            messages.append(result)
        else:
            raise ValueError(f"item {number} of `input` is {str(kind)[:60]!r}, which is no text")
    return messages


def _content(item: Json, number: int) -> Any:
    parts = item.get("content")
    if not isinstance(parts, list):
        return parts
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in TEXT_PARTS or not isinstance(part.get("text"), str):
            shown = str(kind)[:60]
            raise ValueError(f"item {number} of `input` has a part {shown!r}, which is no text")
    return "".join(part["text"] for part in parts)


def _call(item: Json, number: int) -> Json:
    name, arguments = item.get("name"), item.get("arguments")
    try:
        is_object = isinstance(json.loads(str(arguments)), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not isinstance(name, str) or not is_object:
        raise ValueError(f"item {number} of `input` is a call without a name or JSON arguments")
    function = {"name": name, "arguments": arguments}
    return {"id": item.get("call_id"), "type": "function", "function": function}
