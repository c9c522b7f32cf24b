"""What a run tells while it goes: the loop yields these, and console and files subscribe."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """A wait: what is being done, how much of it is done, of how much (None: unknown)."""

    phase: str
    done: int = 0
    total: int | None = None
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that was decided or happened and must not pass silently."""

    code: str  # dtype, too_long, inserted_system, resumed, not_exact, recompute, ...
    message: str


@dataclass(frozen=True, slots=True)
class Planned:
    """What the run will take, told before the first step."""

    steps: int
    first_step: int  # steps already done, on resume
    tokens_per_step: int
    tokens_per_micro_batch: int
    trainable_parameters: int
    peak_bytes: int  # expected
    seconds: float  # expected


@dataclass(frozen=True, slots=True)
class StepDone:
    """One optimizer step; losses are nats per supervised token."""

    step: int
    steps: int
    tokens: int  # real tokens since the start of the run
    loss: float
    lr: float
    grad_norm: float
    tokens_per_second: float  # of this step
    peak_bytes: int
    seconds: float  # since the start of this process's first step
    seconds_left: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A held-out loss after a step, and whether it is the lowest so far."""

    step: int
    loss: float
    best: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """A complete checkpoint."""

    step: int
    folder: str


@dataclass(frozen=True, slots=True)
class BestCheckpoint:
    """The checkpoint that became the result, why, and all that it was chosen from."""

    step: int
    reason: str
    unit: str
    checkpoints: tuple[dict[str, float | int | None], ...]


@dataclass(frozen=True, slots=True)
class Weakened:
    """At which share of its strength the result stands: a `forgetting.strength.Strength`."""

    share: float
    tried: float | None
    probe: str
    measure: str
    full: float
    now: float | None
    full_score: float | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event of the loop: `done`, `stopped` (by the user) or `early` (no better loss)."""

    step: int
    reason: str


Event = Progress | Notice | Planned | StepDone | HeldOut | Saved | BestCheckpoint | Weakened | Ended


def usable_cores() -> int:
    """Cores that this process may run on, which a container can limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
