"""The settings of checks in which another model judges."""

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from tunesmith.config.checks.fields import CheckName
from tunesmith.config.settings import SECRET, Settings

DEFAULT_EMBEDDER = "all-minilm-l6-v2"
DEFAULT_KEY = "OPENAI_API_KEY"


class SimilaritySettings(Settings):
    """The cosine of the embeddings of answer and reference, 0 where they are unlike."""

    kind: Literal["similarity"] = "similarity"
    name: CheckName = None
    model: str = Field(
        DEFAULT_EMBEDDER, description="an embedding model: the short name (English), or a folder"
    )


class StyleSettings(Settings):
    """A classifier, trained on the data's own answers against the base's, takes it for the data's.

    It is trained when the base has answered; its own accuracy stands beside the score.
    """

    kind: Literal["style"] = "style"
    name: CheckName = None


class JudgeSettings(Settings):
    """A model behind an OpenAI-compatible endpoint judges the answer by a rubric."""

    kind: Literal["judge"] = "judge"
    name: CheckName = None
    model: str = Field(min_length=1, description="the judge, as its endpoint calls it")
    rubric: str = Field(min_length=1, description="what makes an answer good, or its file")
    mode: Literal["grade", "compare"] = Field(
        "grade",
        description="grade: 1 to 5, as 0 to 1; compare: against the data's answer, both ways "
        "round: 1 better, 0.5 as good, 0 worse",
    )
    base_url: str | None = Field(None, description="its endpoint; null: OpenAI's")
    key: str | None = Field(
        DEFAULT_KEY, description="environment variable that holds the key; null: it needs none"
    )
    timeout_seconds: float = Field(60.0, gt=0, allow_inf_nan=False, description="longest wait")
    tries: int = Field(3, ge=1, description="times that a request is sent before it has failed")
    parallel: int = Field(4, ge=1, description="requests at once")
    max_tokens: int = Field(1024, ge=1, description="longest judgement")

    @field_validator("key")
    @classmethod
    def _key_is_a_name(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
            raise _secret(
                "is the name of an environment variable in capitals; "
                "a key itself never stands in a config"
            )
        return value

    @field_validator("base_url")
    @classmethod
    def _url_holds_no_secret(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is no http(s) address")
        if parts.username or parts.password or parts.query:
            raise _secret("holds a user, password or query; give the key in the environment")
        return value


def _secret(message: str) -> PydanticCustomError:
    """A fault whose value is not shown: it may be a key."""
    return PydanticCustomError(SECRET, "{message}", {"message": message})
