"""The settings of each check that an answer must pass, told apart by `kind`."""

import re
from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from tunesmith.config.settings import Settings

CheckName = Annotated[
    str | None, Field(min_length=1, description="shown in tables; the kind unless given")
]


class ExactSettings(Settings):
    """The answer equals the reference, white space around both set aside."""

    kind: Literal["exact"] = "exact"
    name: CheckName = None


class LabelSettings(Settings):
    """The answer, or one key of a JSON answer, is the reference's."""

    kind: Literal["label"] = "label"
    name: CheckName = None
    field: str | None = Field(
        None, min_length=1, description="key of the JSON answer to compare; null: the whole answer"
    )
    ignore_case: bool = Field(False, description="`Refund` counts as `refund`")


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


class EndsWithSettings(Settings):
    """The answer ends with one of the given endings; white space after it is set aside."""

    kind: Literal["ends_with"] = "ends_with"
    name: CheckName = None
    endings: tuple[str, ...] = Field(min_length=1, description="one of these must end the answer")
    ignore_punctuation: bool = Field(
        True, description="punctuation and symbols may follow: `가요!` and `가요~` end with `요`"
    )

    @field_validator("endings", mode="before")
    @classmethod
    def _one_ending_is_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    @field_validator("endings")
    @classmethod
    def _no_ending_is_blank(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(ending.strip() for ending in value):
            raise ValueError("an ending is blank, and so would pass every answer")
        return tuple(ending.strip() for ending in value)


CheckSettings = Annotated[
    ExactSettings | LabelSettings | JsonSettings | RegexSettings | EndsWithSettings,
    Field(discriminator="kind"),
]
