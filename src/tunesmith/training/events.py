"""Events of a training run, in the order in which they come."""

from dataclasses import dataclass

from tunesmith.core.progress import Event


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """What the run will take, reported before the first step."""

    name = "planned"
    steps: int
    first_step: int  # steps already done, on resume
    tokens_per_step: int
    tokens_per_micro_batch: int
    trainable_parameters: int
    peak_bytes: int  # expected, on each rank
    seconds: float  # expected, of the steps and the held-out losses between them
    # Of what follows the last step: without a search for the adapter's scale, and with it.
    evaluation_seconds: float = 0.0
    evaluation_seconds_most: float = 0.0
    is_retained: bool = False  # training keeps what the base knows: a search is not expected
    ranks: int = 1  # processes that share the work
    lr: float | None = None  # the highest; None: of several runs


@dataclass(frozen=True, slots=True)
class StepDone(Event):
    """One optimizer step; losses are nats per supervised token."""

    name = "stepdone"
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
    divergence: float | None = None  # KL(base || tuned) of a token of the retention documents


@dataclass(frozen=True, slots=True)
class HeldOut(Event):
    """A held-out loss after a step, and whether this is the best checkpoint so far.

    ``token_accuracy``: the share of the held-out rows' supervised tokens that are the most likely
    ones after the row's own tokens before them.
    ``passed``: the share of training rows that were answered as the first check asks, and
    ``best_passed`` that of the best one so far, at ``best_step``, where it was not asked before.
    """

    name = "heldout"
    step: int
    loss: float
    best: bool
    token_accuracy: float | None = None
    passed: float | None = None
    best_step: int | None = None
    best_passed: float | None = None


@dataclass(frozen=True, slots=True)
class Saved(Event):
    """A complete checkpoint."""

    name = "saved"
    step: int
    folder: str


@dataclass(frozen=True, slots=True)
class BestCheckpoint(Event):
    """The checkpoint that became the result, why, and all that it was chosen from."""

    name = "bestcheckpoint"
    step: int
    reason: str
    unit: str
    checkpoints: tuple[dict[str, float | int | None], ...]


@dataclass(frozen=True, slots=True)
class ScaledDown(Event):
    """The scale of the result: an `evaluation.forgetting.AdapterScale`."""

    name = "weakened"
    share: float
    tried: float | None
    probe: str
    measure: str
    full: float
    now: float | None
    full_score: float | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """The last event of the loop: `done`, `stopped` (by the user) or `early` (none better)."""

    name = "ended"
    step: int
    reason: str
