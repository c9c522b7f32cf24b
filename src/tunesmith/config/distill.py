"""Answers that become training rows: of the base under an instruction, or of a stronger model."""

from pydantic import Field, field_validator, model_validator

from tunesmith.config.endpoint import DEFAULT_KEY, check_address, check_key
from tunesmith.config.settings import Settings, TogetherError

NEED_TEACHER = ("teacher_model", "teacher_key", "teacher_terms")


class DistillSettings(Settings):
    """Answers of the base under an instruction, or of a teacher; those that pass become rows."""

    prompt: str | None = Field(None, description="file with the instruction")
    inputs: str = Field(description="file with what is asked: rows, or a .txt with one a line")
    out: str = Field(description="JSONL file of rows that is written")
    samples: int = Field(4, ge=1, description="answers drawn for an input, at most")
    keep: int = Field(1, ge=1, description="different answers kept of an input, each a row")
    temperature: float = Field(0.7, ge=0, description="of the draws; 0: the likeliest answer")
    teacher: str | None = Field(None, description="endpoint of the model that answers; null: base")
    teacher_model: str | None = Field(None, min_length=1, description="its name there")
    teacher_key: str | None = Field(
        DEFAULT_KEY, description="environment variable that holds its key; none: it needs none"
    )
    teacher_terms: str | None = Field(
        None, description="terms of its outputs, as the record and the adapter's card name them"
    )

    _teacher_is_an_address = field_validator("teacher")(check_address)

    @field_validator("teacher_key", mode="before")
    @classmethod
    def _none_means_no_key(cls, value: object) -> object:
        return None if value == "none" else value

    _key_is_a_name = field_validator("teacher_key")(check_key)

    @model_validator(mode="after")
    def _someone_knows_how_to_answer(self) -> "DistillSettings":
        if self.teacher is None and self.prompt is None:
            raise ValueError("give an instruction (--prompt) for the base, or a --teacher")
        if self.teacher is not None and self.teacher_model is None:
            raise ValueError("a teacher needs teacher_model, its name at that endpoint")
        fields = type(self).model_fields
        idle = [name for name in NEED_TEACHER if getattr(self, name) != fields[name].default]
        if self.teacher is None and idle:
            raise TogetherError(f"{idle[0]} has no effect without teacher", *idle)
        return self

    @model_validator(mode="after")
    def _draws_can_differ(self) -> "DistillSettings":
        if self.keep > self.samples:
            raise ValueError(
                f"keep {self.keep} is more than the {self.samples} samples drawn; set samples to "
                f"{self.keep} or more, or keep to {self.samples} or less"
            )
        if self.temperature == 0 and self.samples > 1:
            raise ValueError(
                f"temperature 0 would draw the same answer {self.samples} times; "
                "set samples to 1, or a temperature above 0"
            )
        return self
