"""What may be forgotten, and which probes tell."""

from typing import Literal

from pydantic import Field

from tunesmith.config.settings import Settings


class ForgettingSettings(Settings):
    """Probes of general ability, base against tuned, and how much each may lose."""

    probes: tuple[str, ...] = Field(
        ("default",),
        min_length=1,
        description="bundled ones (default: all of them), files, or lm_eval:TASK",
    )
    accuracy_points: float = Field(
        3.0, gt=0, le=100, description="points of accuracy on the probes' questions"
    )
    perplexity_percent: float = Field(
        5.0, gt=0, description="per cent that the perplexity of plain text may rise"
    )
    strength: Literal["auto", "full"] = Field(
        "auto",
        description="auto: what forgets more is weakened as far as needed; full: it is not",
    )
