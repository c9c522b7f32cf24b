"""The settings of checks that look at the answer alone."""

import re
from collections.abc import Callable
from typing import Literal

from pydantic import Field, JsonValue, field_validator

from tunesmith.config.checks.fields import CheckName, Texts
from tunesmith.config.settings import Settings

SAME_CASE = "`Yes` counts as `yes`"


class JsonSettings(Settings):
    """The whole answer is valid JSON, and valid against a JSON Schema where one is given."""

    kind: Literal["json"] = "json"
    name: CheckName = None
    json_schema: str | dict[str, JsonValue] | None = Field(
        None, alias="schema", description="a JSON Schema, or its file"
    )


class RegexSettings(Settings):
    """A regular expression is found in the answer."""

    kind: Literal["regex"] = "regex"
    name: CheckName = None
    pattern: str = Field(description="must be found in the answer (Python's `re`)")

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"not a valid regular expression: {error}") from None
        return value


def _trimmed(texts: tuple[str, ...], trim: Callable[[str], str], where: str) -> tuple[str, ...]:
    """The texts; ValueError for one with white space where answers are trimmed."""
    for text in texts:
        if text != trim(text):
            told = f"{text!r} has white space {where}, where answers have none: leave it out"
            raise ValueError(told)
    return texts


class StartsWithSettings(Settings):
    """The answer starts with one of the given texts; white space before it is set aside."""

    kind: Literal["starts_with"] = "starts_with"
    name: CheckName = None
    beginnings: Texts = Field(min_length=1, description="one of these must begin the answer")
    ignore_case: bool = Field(False, description=SAME_CASE)

    @field_validator("beginnings")
    @classmethod
    def _can_begin_an_answer(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return _trimmed(texts, str.lstrip, "in front")


class EndsWithSettings(Settings):
    """The answer ends with one of the given endings; white space after it is set aside."""

    kind: Literal["ends_with"] = "ends_with"
    name: CheckName = None
    endings: Texts = Field(min_length=1, description="one of these must end the answer")
    ignore_punctuation: bool = Field(
        True, description="punctuation and symbols may follow: `가요!` and `가요~` end with `요`"
    )

    @field_validator("endings")
    @classmethod
    def _can_end_an_answer(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return _trimmed(texts, str.rstrip, "at its end")


class ContainsSettings(Settings):
    """The answer holds all of the given texts, or one of them."""

    kind: Literal["contains"] = "contains"
    name: CheckName = None
    texts: Texts = Field(min_length=1, description="what the answer must hold")
    any: bool = Field(False, description="one of them is enough")
    ignore_case: bool = Field(False, description=SAME_CASE)


class NotContainsSettings(Settings):
    """The answer holds none of the given texts."""

    kind: Literal["not_contains"] = "not_contains"
    name: CheckName = None
    texts: Texts = Field(min_length=1, description="what the answer must not hold")
    ignore_case: bool = Field(False, description=SAME_CASE)


class MaxWordsSettings(Settings):
    """The answer has so many words at most."""

    kind: Literal["max_words"] = "max_words"
    name: CheckName = None
    words: int = Field(ge=1, description="most words")


class MaxSentencesSettings(Settings):
    """The answer has so many sentences at most."""

    kind: Literal["max_sentences"] = "max_sentences"
    name: CheckName = None
    sentences: int = Field(ge=1, description="most sentences; a new line ends one too")
    language: str = Field("en", min_length=2, description="whose abbreviations are known: en, ko")


class LanguageSettings(Settings):
    """The answer is written in a language."""

    kind: Literal["language"] = "language"
    name: CheckName = None
    language: str = Field(min_length=2, description="ISO 639 code, such as en or ko")
    among: tuple[str, ...] = Field(
        (), description="the only languages it could be; a short answer is then told more surely"
    )
