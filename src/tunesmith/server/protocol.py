"""What a request may say: OpenAI's parameters. None that changes an answer is ignored."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tunesmith.generation.sampling import Penalties

CHOICES = ("none", "auto", "required")  # of a tool
ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
MAX_CHOICES = 16
MAX_STOPS, MAX_STOP_CHARACTERS = 16, 1024
MAX_TOP_SCORES = 20
MAX_BIAS, MAX_BIASES = 100, 1024
MAX_TOOLS, MAX_MESSAGES = 128, 16_384
MAX_PROMPTS = 64
MAX_TEXTS = 256  # that are embedded in one request

Json = dict[str, Any]  # as a client wrote it
Stop = str | list[str] | None


STRICT = ConfigDict(extra="forbid", frozen=True)  # keys that are not known are refused


class StreamOptions(BaseModel):
    """``include_usage``: a last event counts the tokens."""

    model_config = STRICT
    include_usage: bool = False
    include_obfuscation: bool = False


class Generation(BaseModel):
    """What all that a model writes has: which model, and how its tokens are chosen.

    ``top_k``, ``min_p`` and ``repetition_penalty`` are vLLM's.
    """

    model_config = STRICT
    thinks: ClassVar[bool] = False
    """Whether an answer may begin with thinking, which is no part of what is said."""
    model: str
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    min_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    repetition_penalty: float | None = Field(None, ge=0.01, le=10)
    logit_bias: dict[int, float] | None = None
    seed: int | None = None
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    stop: Stop = None
    stream_options: StreamOptions | None = None
    stream: bool | None = None
    # They change no answer.
    user: str | None = None
    store: bool | None = None
    metadata: Json | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @field_validator("logit_bias")
    @classmethod
    def _few_and_small(cls, bias: dict[int, float] | None) -> dict[int, float] | None:
        if bias and len(bias) > MAX_BIASES:
            raise ValueError(f"must hold at most {MAX_BIASES:,} (holds {len(bias):,})")
        if any(not -MAX_BIAS <= value <= MAX_BIAS for value in (bias or {}).values()):
            raise ValueError(f"must hold numbers from -{MAX_BIAS} to {MAX_BIAS}")
        return bias

    @property
    def penalties(self) -> Penalties | None:
        """What changes the scores before a token is chosen; None: nothing."""
        found = Penalties(
            presence=self.presence_penalty or 0.0,
            frequency=self.frequency_penalty or 0.0,
            repetition=self.repetition_penalty or 1.0,
            bias=self.logit_bias or {},
        )
        return None if found == Penalties() else found

    @field_validator("echo", "suffix", check_fields=False)
    @classmethod
    def _without_effect(cls, value: object) -> object:
        if value:
            raise ValueError("is not supported")
        return value

    @field_validator("stop")
    @classmethod
    def _few_and_short(cls, stop: Stop) -> Stop:
        texts = [stop] if isinstance(stop, str) else stop or []
        if len(texts) > MAX_STOPS:
            raise ValueError(f"must hold at most {MAX_STOPS} (holds {len(texts):,})")
        if any(not 0 < len(text) <= MAX_STOP_CHARACTERS for text in texts):
            raise ValueError(f"must hold texts of 1 to {MAX_STOP_CHARACTERS:,} characters")
        return stop

    @model_validator(mode="after")
    def _options_of_a_stream(self) -> "Generation":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for requests with stream: true")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop texts."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def counts_usage(self) -> bool:
        """Whether a stream ends with the counts of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class NamedSchema(BaseModel):
    """A JSON Schema; an answer follows it whether ``strict`` or not."""

    model_config = STRICT
    name: str
    schema_: Json = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """What form the answer has: text, a JSON object, or JSON of a schema."""

    model_config = STRICT
    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def _has_a_schema(self) -> "ResponseFormat":
        if (self.json_schema is not None) != (self.type == "json_schema"):
            raise ValueError("json_schema is for the type json_schema, which needs one")
        return self


class ChatRequest(Generation):
    """POST /v1/chat/completions."""

    thinks = True
    messages: list[Json] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_SCORES)
    tools: list[Json] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None

    @model_validator(mode="after")
    def _go_together(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs is for requests with logprobs: true")
        if self.tool_choice is not None and not self.tools:
            raise ValueError("tool_choice is for requests with tools")
        if self.tool_choice not in (None, *CHOICES) and self.named_tool is None:
            raise ValueError(f"tool_choice must be {', '.join(CHOICES)} or a function's name")
        if self.tools and self.tool_choice != "none" and self.schema_of_answer is not None:
            raise ValueError("response_format and tools cannot be asked for together")
        return self

    @property
    def named_tool(self) -> str | None:
        """The function that must be called; None: no single one."""
        match self.tool_choice:
            case {"type": "function", "function": {"name": str(name), **more}, **rest}:
                return None if more or len(rest) else name
        return None

    @property
    def schema_of_answer(self) -> Mapping[str, Any] | None:
        """The schema that an answer must follow; None: any text."""
        asked = self.response_format
        if asked is None or asked.type == "text":
            return None
        return ANY_OBJECT if asked.json_schema is None else asked.json_schema.schema_

    @property
    def limit(self) -> int | None:
        """The longest answer, in tokens."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def top_scores(self) -> int | None:
        """How many of the likeliest tokens are wanted with each; None: no scores."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(Generation):
    """POST /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int | None = Field(16, ge=1)
    logprobs: int | None = Field(None, ge=0, le=MAX_TOP_SCORES)
    best_of: Literal[1] | None = None
    echo: bool | None = None
    suffix: str | None = None

    @field_validator("prompt")
    @classmethod
    def _some(cls, prompt: str | list[Any]) -> str | list[Any]:
        if not prompt or (len(prompt) > MAX_PROMPTS and isinstance(prompt[0], str | list)):
            raise ValueError(f"must be a text or token ids, or a list of 1 to {MAX_PROMPTS} such")
        return prompt

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, one by one."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)


class EmbeddingRequest(BaseModel):
    """POST /v1/embeddings."""

    model_config = STRICT
    model: str
    input: str | Annotated[list[str], Field(min_length=1, max_length=MAX_TEXTS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None

    @field_validator("dimensions")
    @classmethod
    def _of_the_model(cls, value: int | None) -> int | None:
        if value is not None:
            raise ValueError("is not supported: the model has its own width")
        return value

    @property
    def texts(self) -> list[str]:
        """What is to be embedded."""
        return [self.input] if isinstance(self.input, str) else self.input


class LoadRequest(BaseModel):
    """POST /v1/load_lora_adapter, as vLLM has it."""

    model_config = STRICT
    lora_name: str
    lora_path: str
    load_inplace: Literal[False] | None = None


class UnloadRequest(BaseModel):
    """POST /v1/unload_lora_adapter."""

    model_config = STRICT
    lora_name: str
    lora_int_id: int | None = None
