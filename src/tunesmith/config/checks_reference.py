"""The settings of checks that compare the answer with the data's own, and shared fields."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tunesmith.config.settings import Settings

CheckName = Annotated[
    str | None, Field(min_length=1, description="shown in tables; the kind unless given")
]


def _listed(value: object) -> object:
    items = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(item, bool) for item in items):
        raise ValueError("YAML reads Yes, No, on and off as true and false: put them in quotes")
    return items


def _none_is_blank(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not all(text.strip() for text in texts):
        raise ValueError("a text is blank, and so would be found in every answer")
    return texts


Texts = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_none_is_blank)]
"""Texts to look for, with their white space: one, or a list of them, none blank."""


Marker = Annotated[
    str | None,
    Field(
        min_length=1,
        description="text before the final answer, such as `####`; null: `####`, "
        r"`\boxed{}` or `answer is`, else the last number",
    ),
]
Tolerance = Annotated[
    float, Field(ge=0, allow_inf_nan=False, description="how far the number may be off")
]
RelativeTolerance = Annotated[
    float, Field(ge=0, lt=1, description="the same as a share of the number: 0.01 is one percent")
]


class ExactSettings(Settings):
    """The answer equals the reference, white space around both ignored."""

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


class NumberSettings(Settings):
    """The final number of the answer is the reference's."""

    kind: Literal["number"] = "number"
    name: CheckName = None
    marker: Marker = None
    tolerance: Tolerance = 0.0
    relative_tolerance: RelativeTolerance = 0.0


class StepsSettings(Settings):
    """The answer shows its steps, in order, and then a final answer."""

    kind: Literal["steps"] = "steps"
    name: CheckName = None
    steps: Literal["auto", "numbered", "lines"] = Field(
        "auto", description="numbered: `1.`, `Step 2:`; lines: one a line; auto: as the reference"
    )
    at_least: int = Field(2, ge=1, description="fewest steps")
    at_most: int | None = Field(None, ge=1, description="most steps")
    marker: Marker = None
    tolerance: Tolerance = 0.0
    relative_tolerance: RelativeTolerance = 0.0

    @model_validator(mode="after")
    def _a_count_fits(self) -> "StepsSettings":
        if self.at_most is not None and self.at_most < self.at_least:
            raise ValueError(f"at_most ({self.at_most}) is less than at_least ({self.at_least})")
        return self


class SlotsSettings(Settings):
    """The answer has the slots and values of the reference, or mentions those of the question."""

    kind: Literal["slots"] = "slots"
    name: CheckName = None
    source: Literal["reference", "question"] = Field(
        "reference",
        description="where the slots are, as JSON or `name[x], food[y]`; question: the answer "
        "is a text that must mention their values",
    )
    field: str | None = Field(None, min_length=1, description="key of the JSON that holds them")
    leave_out: tuple[str, ...] = Field((), description="slots that do not count")
    phrases: dict[str, dict[str, Texts]] = Field(
        {}, description="slot: {value: what mentions it}, where a text does not repeat the value"
    )
    ignore_case: bool = Field(True, description="`Cheap` counts as `cheap`")

    @model_validator(mode="after")
    def _phrases_are_of_a_text(self) -> "SlotsSettings":
        if self.phrases and self.source == "reference":
            raise ValueError("phrases are looked for where source is question")
        return self


class RougeSettings(Settings):
    """How many words the answer shares with the reference (Lin 2004): F1 of ROUGE-1, 2 or L."""

    kind: Literal["rouge"] = "rouge"
    name: CheckName = None
    measure: Literal["rouge1", "rouge2", "rougeL"] = Field(
        "rougeL", description="words, pairs of words, or the longest common subsequence"
    )
    by: Literal["words", "characters"] = Field(
        "words", description="characters: for text without spaces, or with endings as in Korean"
    )


class BleuSettings(Settings):
    """How many n-grams of the answer are the reference's: BLEU (Papineni et al. 2002)."""

    kind: Literal["bleu"] = "bleu"
    name: CheckName = None
    tokenize: Literal["13a", "intl", "zh", "char", "none"] = Field(
        "13a", description="sacrebleu's; intl: Unicode punctuation; char: for text without spaces"
    )
    lowercase: bool = Field(False, description="`Yes` counts as `yes`")


class ChrfSettings(Settings):
    """How many character n-grams answer and reference share: chrF (Popović 2015)."""

    kind: Literal["chrf"] = "chrf"
    name: CheckName = None
    word_order: int = Field(0, ge=0, le=4, description="2: chrF++, with pairs of words")
    lowercase: bool = Field(False, description="`Yes` counts as `yes`")
