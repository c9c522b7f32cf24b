"""What a judge is given: who is judged, and what is known of the base already."""

from dataclasses import dataclass, field

from tunesmith.config.forgetting import ForgettingSettings
from tunesmith.evaluate.forgetting.findings import Forgetting
from tunesmith.workflows.arms import Arm
from tunesmith.workflows.forgetting import Scores
from tunesmith.workflows.measures import Shared
from tunesmith.workflows.opening import Opened
from tunesmith.workflows.timing import Timed


@dataclass(frozen=True, slots=True)
class Tuned:
    """What is judged: an adapter (None: the whole model) over a base, and the hash of both.

    ``forgetting`` is what it forgot, where that was measured already.
    """

    opened: Opened
    adapter: str | None
    voice: str
    training_seconds: float | None = None
    forgetting: Forgetting | None = None


@dataclass(slots=True)
class Known:
    """What was measured of the base, for other runs over it that measure the same.

    Answers need no such place: those of all runs are in the cache.
    """

    scores: dict[ForgettingSettings, Scores] = field(default_factory=dict)
    timed: dict[tuple[Arm, int], Timed] = field(default_factory=dict)
    measures: Shared = field(default_factory=Shared)
