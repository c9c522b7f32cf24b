"""How often, and in which other words, is a question asked again?"""

from pydantic import Field, model_validator

from tunesmith.config.checks.by_model import DEFAULT_EMBEDDER
from tunesmith.config.settings import Settings


class ConsistencySettings(Settings):
    """Answers drawn again at a temperature, and answers to the same in other words."""

    samples: int = Field(
        5, ge=0, le=100, description="answers drawn for each question, two or more; 0 for none"
    )
    temperature: float = Field(
        0.7, gt=0, le=5, allow_inf_nan=False, description="at which they are drawn"
    )
    rows: int = Field(40, ge=1, description="held-out questions that are asked again, at most")
    paraphrases: int = Field(
        3, ge=0, le=5, description="other ways to put a question, made by rules; 0 for none"
    )
    paraphrases_from: str | None = Field(
        None, description='file of {"query": ..., "paraphrases": [...]}, which come first'
    )
    meaning: str | None = Field(
        None,
        description=f"embedding model that compares meanings, as {DEFAULT_EMBEDDER}; null: none",
    )
    minutes: float = Field(
        3.0, gt=0, allow_inf_nan=False, description="longest time, over all arms together"
    )

    @model_validator(mode="after")
    def _something_is_asked(self) -> "ConsistencySettings":
        if self.samples == 1:
            raise ValueError("one sample agrees with nothing: give samples 2 or more, or 0")
        if not self.samples and not self.paraphrases and self.paraphrases_from is None:
            raise ValueError("nothing is asked again: write consistency: none")
        return self
