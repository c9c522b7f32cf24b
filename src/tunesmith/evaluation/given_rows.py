"""Rows that a user gives in a file: facts, other wordings, and probes of forgetting."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from tunesmith.config.checks import CheckSettings
from tunesmith.config.settings import reason
from tunesmith.data.faults import Fault, refuse
from tunesmith.data.records import read_records
from tunesmith.data.rows import Record

WHY = {  # by pydantic's type of error; its own words are those of a programmer
    "missing": "is missing",
    "string_type": "must be text",
    "list_type": "must be a list of texts",
}


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("empty", "must not be blank")
    return text


Text = Annotated[str, AfterValidator(_not_blank)]


class GivenRow(BaseModel):
    """A row; other keys than its own are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)
    shape: ClassVar[str]


class FactRow(GivenRow):
    """A question with its answer."""

    shape = '{"query": "...", "answer": "..."}'
    query: Text
    answer: Text


class WordingRow(GivenRow):
    """A question with other wordings of it."""

    shape = '{"query": "...", "paraphrases": ["...", "..."]}'
    query: Text
    paraphrases: Annotated[list[Text], Field(min_length=1)]


class TextRow(GivenRow):
    """A text of a probe; a file holds texts or questions, not both."""

    shape = '{"text": "..."}'
    text: Text


class ChoiceRow(GivenRow):
    """A question of a probe, with choices and the place of the right one."""

    shape = '{"query": "...", "choices": ["...", "..."], "gold": 0}, or {"text": "..."}'
    query: str
    choices: list[Text]
    gold: int

    @field_validator("choices")
    @classmethod
    def _are_a_choice(cls, choices: list[str]) -> list[str]:
        if len(choices) < 2:
            raise PydanticCustomError("empty", "must be two or more")
        return choices

    @field_validator("gold", mode="before")
    @classmethod
    def _is_a_place(cls, gold: object, info: ValidationInfo) -> object:
        count = len(info.data.get("choices", ()))
        is_place = isinstance(gold, int) and not isinstance(gold, bool) and 0 <= gold < count
        if count and not is_place:
            why = "must be the place of a choice, 0 to {most}, and is {gold}"
            raise PydanticCustomError("wrong_gold", why, {"most": count - 1, "gold": repr(gold)})
        return gold


class PromptRow(GivenRow):
    """A prompt of a probe, with the checks that an answer must pass, and tools that it offers.

    To an ``open`` one an answer of its own is expected, of some length.
    """

    shape = '{"query": "...", "checks": [{"kind": "regex", "pattern": "..."}]}'
    query: Text
    checks: list[CheckSettings] = []
    tools: list[dict[str, JsonValue]] = []
    open: bool = False

    @model_validator(mode="after")
    def _something_is_expected(self) -> "PromptRow":
        if not (self.checks or self.open):
            why = 'has neither "checks" nor "open": true, so that every answer would pass'
            raise PydanticCustomError("nothing_expected", why)
        return self


R = TypeVar("R", bound=GivenRow)


def read_given(path: Path, model: type[R]) -> list[R]:
    """The rows of a file, at least one; raises FaultyData with every fault, by file and line."""
    return given_rows(list(read_records(path)), model, path)


def given_rows(records: Sequence[Record], model: type[R], path: Path) -> list[R]:
    """The same of records that were read from ``path``."""
    rows: list[R] = []
    faults: list[Fault] = []
    for record in records:
        if (fault := record.fault(str(path))) is not None:
            faults.append(fault)
        elif record.values is not None:
            try:
                rows.append(model.model_validate(record.values))
            except ValidationError as error:
                found = ", ".join(record.values) or "nothing"
                faults.append(_problem(error, model, found).at(str(path), record.line))
    if not rows and not faults:
        faults.append(Fault("empty", "holds no row.", "Give one a line.").at(str(path), None))
    refuse(faults)
    return rows


def _problem(error: ValidationError, model: type[GivenRow], found: str) -> Fault:
    """All that is wrong with a row, by the code of the first of it; ``found`` are its keys."""
    faults = error.errors(include_url=False)
    listed = (
        f'"{".".join(map(str, each["loc"]))}" {WHY.get(each["type"]) or reason(each)}'
        for each in faults
    )
    first = faults[0]["type"]
    code = "missing_column" if first == "missing" else "wrong_type" if first in WHY else first
    return Fault(code, f"{'; '.join(listed)} (found: {found}).", f"A row is {model.shape}.")
