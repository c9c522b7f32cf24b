"""The settings of each check that an answer must pass, by its `kind`."""

import re
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, field_validator, model_validator

from tunesmith.config.checks_reference import (
    BleuSettings,
    CheckName,
    ChrfSettings,
    ExactSettings,
    LabelSettings,
    NumberSettings,
    RougeSettings,
    SlotsSettings,
    StepsSettings,
    Texts,
)
from tunesmith.config.endpoint import DEFAULT_KEY, KEY_TEXT, check_address, check_key
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
            raise ValueError(
                f"{text!r} has white space {where}, where answers have none: leave it out"
            )
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
        return _trimmed(texts, str.lstrip, "at its start")


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
        (),
        description="the only languages it could be; a short answer is then recognized more surely",
    )


class WantedCall(Settings):
    """A call of a tool."""

    name: str = Field(min_length=1, description="the tool's name")
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict, description="its arguments, all of them"
    )


class ToolCallSettings(Settings):
    """The answer calls the wanted tools with their arguments, and no other."""

    kind: Literal["tool_call"] = "tool_call"
    name: CheckName = None
    calls: tuple[WantedCall, ...] | None = Field(
        None, description="the calls, [] for none; null: those of the data's answer"
    )
    ignore_case: bool = Field(False, description=SAME_CASE)


class RefusalSettings(Settings):
    """The answer declines what is asked, or does not."""

    kind: Literal["refusal"] = "refusal"
    name: CheckName = None
    refuses: bool = Field(True, description="false: what is asked is not declined")


class SqlSettings(Settings):
    """The answer, run on SQLite, gives the rows that the reference gives."""

    kind: Literal["sql"] = "sql"
    name: CheckName = None
    database: str | None = Field(None, description="an SQLite file; it is only ever read")
    script: str | None = Field(
        None, description="SQL that makes the tables and their rows, or its file"
    )
    from_question: bool = Field(
        False, description="the question holds CREATE TABLE and INSERT statements of its own"
    )
    seconds: float = Field(5.0, gt=0, allow_inf_nan=False, description="longest run of a query")
    rows: int = Field(10_000, ge=1, description="most rows of a result")

    @model_validator(mode="after")
    def _tables_come_from_one_place(self) -> "SqlSettings":
        if (self.database is not None) + (self.script is not None) + self.from_question != 1:
            raise ValueError("give one of database, script and from_question")
        return self


class PythonSettings(Settings):
    """A function of the user's gives the score."""

    kind: Literal["python"] = "python"
    name: CheckName = None
    function: str = Field(
        description="`file.py:function` or `module:function`; it is called with the answer, and "
        "with the reference and the question where it takes them"
    )

    @field_validator("function")
    @classmethod
    def _names_a_function(cls, value: str) -> str:
        path, _, name = value.rpartition(":")
        if not path.strip() or not name.isidentifier():
            raise ValueError("write `file.py:function` or `module:function`")
        return value


DEFAULT_EMBEDDER = "all-minilm-l6-v2"


class SimilaritySettings(Settings):
    """The cosine of the embeddings of answer and reference, 0 where they are unlike."""

    kind: Literal["similarity"] = "similarity"
    name: CheckName = None
    model: str = Field(
        DEFAULT_EMBEDDER, description="an embedding model: the short name (English), or a folder"
    )


class StyleSettings(Settings):
    """A classifier, trained on the data's own answers against the base's, takes it for the data's.

    It is trained when the base has answered; its own accuracy is shown with the score.
    """

    kind: Literal["style"] = "style"
    name: CheckName = None


class JudgeSettings(Settings):
    """A model behind an OpenAI-compatible endpoint grades the answer by a rubric."""

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
    key: str | None = Field(DEFAULT_KEY, description=KEY_TEXT)
    timeout_seconds: float = Field(60.0, gt=0, allow_inf_nan=False, description="longest wait")
    tries: int = Field(3, ge=1, description="times that a request is sent before it has failed")
    parallel: int = Field(4, ge=1, description="requests at once")
    max_tokens: int = Field(1024, ge=1, description="longest reply of the judge")

    _key_is_a_name = field_validator("key")(check_key)
    _base_url_is_an_address = field_validator("base_url")(check_address)


CheckSettings = Annotated[
    ExactSettings
    | LabelSettings
    | NumberSettings
    | JsonSettings
    | RegexSettings
    | StartsWithSettings
    | EndsWithSettings
    | ContainsSettings
    | NotContainsSettings
    | MaxWordsSettings
    | MaxSentencesSettings
    | LanguageSettings
    | ToolCallSettings
    | RefusalSettings
    | StepsSettings
    | SlotsSettings
    | RougeSettings
    | BleuSettings
    | ChrfSettings
    | SimilaritySettings
    | StyleSettings
    | SqlSettings
    | PythonSettings
    | JudgeSettings,
    Field(discriminator="kind"),
]


def _listed(value: object) -> object:
    """One check is a list of one, and a name alone a check of this kind."""
    checks = [value] if isinstance(value, str | dict | Settings) else value
    if not isinstance(checks, list | tuple):
        return value
    return [{"kind": each} if isinstance(each, str) else each for each in checks]


# Those that decide by the answer alone and at no cost: what they ask for is learned, or it is not,
# of training rows as of others. An answer that is compared with a reference can be memorized.
RULES = (
    JsonSettings,
    RegexSettings,
    StartsWithSettings,
    EndsWithSettings,
    ContainsSettings,
    NotContainsSettings,
    MaxWordsSettings,
    MaxSentencesSettings,
    LanguageSettings,
)
Checks = Annotated[tuple[CheckSettings, ...], BeforeValidator(_listed)]
