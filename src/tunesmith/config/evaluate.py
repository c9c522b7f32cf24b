"""How the result is judged on held-out rows: against what, by which rules, at which prices."""

from pydantic import Field, field_validator, model_validator

from tunesmith.config.checks import CheckSettings
from tunesmith.config.consistency import ConsistencySettings
from tunesmith.config.forgetting import ForgettingSettings
from tunesmith.config.knowledge import KnowledgeSettings
from tunesmith.config.settings import Settings

# Without checks there is no answer to score, so that these change nothing.
NEED_CHECKS = (
    *("forgetting", "consistency", "knowledge"),
    *("baseline_prompt", "examples", "timed_rows", "prices"),
)


class PriceSettings(Settings):
    """What requests and training cost, in any one currency; null: not known."""

    prompt: float | None = Field(None, ge=0, description="of a million prompt tokens")
    completion: float | None = Field(None, ge=0, description="of a million tokens of answers")
    training_hour: float | None = Field(None, ge=0, description="of an hour of training")

    @model_validator(mode="after")
    def _a_request_has_both(self) -> "PriceSettings":
        if (self.prompt is None) != (self.completion is None):
            raise ValueError("a request costs by prompt and completion: give both")
        if self.training_hour is not None and self.prompt is None:
            raise ValueError("training_hour has no effect without prompt and completion")
        return self


class EvaluateSettings(Settings):
    """How the result is judged on held-out rows."""

    checks: tuple[CheckSettings, ...] = Field((), description="rules; the first decides")
    rows: int = Field(200, ge=1, description="held-out rows that are answered, at most")
    max_new_tokens: int = Field(256, ge=1, description="longest answer that is generated")
    baseline_prompt: str | None = Field(
        None, description="the instructions that you would send instead: a text, or its file"
    )
    examples: int = Field(
        5, ge=0, description="training rows in the prompt of the arm `examples`; 0: no such arm"
    )
    timed_rows: int = Field(
        5, ge=0, description="rows that are asked one by one to measure seconds; 0: none"
    )
    prices: PriceSettings = Field(
        default_factory=PriceSettings,
        description="what tokens cost you: {prompt: 0.5, completion: 1.5} a million",
    )
    forgetting: ForgettingSettings | None = Field(
        default_factory=ForgettingSettings,
        description="probes of what training may cost: default, none, or its keys",
    )
    consistency: ConsistencySettings | None = Field(
        default_factory=ConsistencySettings,
        description="whether answers agree when asked again: default, none, or its keys",
    )
    knowledge: KnowledgeSettings | None = Field(
        default_factory=KnowledgeSettings,
        description="facts asked in other words: default (where answers are facts), none, a file",
    )

    @field_validator("forgetting", mode="before")
    @classmethod
    def _a_word_or_a_list_means_probes(cls, value: object) -> object:
        if value == "none":
            return None
        if isinstance(value, str | list | tuple):
            return {"probes": [value] if isinstance(value, str) else value}
        return value

    @field_validator("consistency", mode="before")
    @classmethod
    def _a_word_turns_it_on_or_off(cls, value: object) -> object:
        if isinstance(value, str) and value not in ("none", "default"):
            raise ValueError("must be default, none, or keys such as samples and rows")
        return None if value == "none" else {} if value == "default" else value

    @field_validator("knowledge", mode="before")
    @classmethod
    def _a_word_means_a_file(cls, value: object) -> object:
        if value in ("none", "default"):
            return None if value == "none" else {}
        return {"questions": value} if isinstance(value, str) else value

    @field_validator("baseline_prompt")
    @classmethod
    def _a_prompt_says_something(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("is empty: give the instructions, or their file")
        return value

    @model_validator(mode="after")
    def _arms_need_checks(self) -> "EvaluateSettings":
        """Without checks nothing is answered, and there is no verdict."""
        fields = type(self).model_fields
        without = [
            name
            for name in NEED_CHECKS
            if getattr(self, name)
            not in (None, fields[name].get_default(call_default_factory=True))
        ]
        if not self.checks and without:
            raise ValueError(
                f"{without[0]} has no effect without checks: it is part of the verdict"
            )
        return self
