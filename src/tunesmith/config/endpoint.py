"""A model behind an endpoint: where it is, the name of its key, what its tokens cost."""

import re
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tunesmith.config.settings import SECRET, Settings

DEFAULT_KEY = "OPENAI_API_KEY"
KEY_TEXT = "environment variable that holds the key; null: it needs none"


def check_key(value: str | None) -> str | None:
    """The name of an environment variable; refused without being shown where it may be a key."""
    if value is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
        raise _secret(
            "is the name of an environment variable in capitals; "
            "a key itself never belongs in a config"
        )
    return value


def check_address(value: str | None) -> str | None:
    """An http or https address; refused without being shown where it holds a secret."""
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is not an http or https address")
    if parts.username or parts.password or parts.query:
        raise _secret("holds a user, password or query; give the key in the environment")
    return value


def _secret(message: str) -> PydanticCustomError:
    """A fault whose value is not shown: it may be a key."""
    return PydanticCustomError(SECRET, "{message}", {"message": message})


class TokenPrices(Settings):
    """What tokens cost, in any one currency; null: not known."""

    prompt: float | None = Field(None, ge=0, description="of a million prompt tokens")
    completion: float | None = Field(None, ge=0, description="of a million tokens of answers")

    @model_validator(mode="after")
    def _a_request_has_both(self) -> "TokenPrices":
        if (self.prompt is None) != (self.completion is None):
            raise ValueError("a request costs by prompt and completion: give both")
        return self


class HostedSettings(Settings):
    """A hosted model that answers the held-out questions as a further arm."""

    model: str = Field(min_length=1, description="the model, as its endpoint calls it")
    key: str | None = Field(DEFAULT_KEY, description=KEY_TEXT)
    endpoint: str = Field(description="its address, as in https://api.openai.com/v1")
    instructed: bool = Field(
        False, description="whether evaluate.baseline_prompt precedes each question"
    )
    prices: TokenPrices | None = Field(
        None, description="what its tokens cost, {prompt, completion}; null: evaluate.prices"
    )
    max_tokens: int | None = Field(
        None, ge=1, description="longest answer, thinking included; null: evaluate.max_new_tokens"
    )
    timeout_seconds: float = Field(120.0, gt=0, allow_inf_nan=False, description="longest wait")
    tries: int = Field(8, ge=1, description="times that a request is sent before it has failed")
    parallel: int = Field(16, ge=1, description="requests at once")

    _key_is_a_name = field_validator("key")(check_key)
    _endpoint_is_an_address = field_validator("endpoint")(check_address)
