"""The settings of each fine-tuning method, told apart by `kind`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from tunesmith.config.settings import Settings

LEARNING_RATE_HELP = "peak learning rate, or auto: from the method and the width of the base"


class LoraSettings(Settings):
    """LoRA (arXiv 2106.09685): a low-rank term beside each chosen linear layer."""

    kind: Literal["lora"] = "lora"
    rank: int = Field(16, ge=1, description="rank R of the term B A")
    alpha: float = Field(32.0, gt=0, description="scale numerator: the term counts alpha / rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of inputs of A that are dropped")
    targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="all-linear, or names or patterns of linear layers"
    )
    rslora: bool = Field(False, description="scale by alpha / sqrt(rank) (arXiv 2312.03732)")
    rank_pattern: dict[str, int] = Field({}, description="another rank for layers by pattern")
    alpha_pattern: dict[str, float] = Field({}, description="another alpha for layers by pattern")
    new_tokens: tuple[str, ...] = Field((), description="tokens to add and train")
    start: str | None = Field(None, description="a LoRA adapter folder to continue from")

    @field_validator("targets", mode="before")
    @classmethod
    def _one_name_is_a_list(cls, value: object) -> object:
        return [value] if isinstance(value, str) and value != "all-linear" else value

    @field_validator("rank_pattern")
    @classmethod
    def _ranks_are_positive(cls, value: dict[str, int]) -> dict[str, int]:
        if any(rank < 1 for rank in value.values()):
            raise ValueError("every rank must be at least 1")
        return value


class FullSettings(Settings):
    """Full fine-tuning: every weight of the base is trained."""

    kind: Literal["full"] = "full"
    start: str | None = Field(None, description="a model folder of a `full` run to continue from")


MethodSettings = Annotated[LoraSettings | FullSettings, Field(discriminator="kind")]
