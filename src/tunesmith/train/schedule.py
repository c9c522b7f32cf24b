"""The learning rate of each step: warm-up, then cosine, linear or constant."""

import math

from tunesmith.config.run import TrainSettings

WARMUP_SHARE = 0.03


def warmup_of(settings: TrainSettings, steps: int) -> int:
    """Warm-up steps; `auto` is a small share of the run."""
    if settings.warmup_steps == "auto":
        return math.ceil(WARMUP_SHARE * steps)
    return settings.warmup_steps


def factor(step: int, *, steps: int, warmup: int, schedule: str) -> float:
    """Share of the peak rate in step ``step`` (counted from 0) of ``steps``.

    The first step of a warm-up is 1 / warmup of the peak; cosine and linear would reach zero one
    step after the last.
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return {
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": 1 - progress,
        "constant": 1.0,
    }[schedule]
