"""How an instruction is turned into training rows: what is read, how often is drawn, what stays."""

from pydantic import Field, model_validator

from tunesmith.config.settings import Settings


class DistillSettings(Settings):
    """Answers of the base under an instruction; those that pass become rows without it."""

    prompt: str = Field(description="file with the instruction")
    inputs: str = Field(description="file with what is asked: rows, or a .txt with one a line")
    out: str = Field(description="JSONL file of rows that is written")
    samples: int = Field(4, ge=1, description="answers drawn for an input, at most")
    keep: int = Field(1, ge=1, description="different answers kept of an input, each a row")
    temperature: float = Field(0.7, ge=0, description="of the draws; 0: the likeliest answer")

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
