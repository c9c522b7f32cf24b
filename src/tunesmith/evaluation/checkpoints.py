"""Which checkpoint is the best: held-out score minus what was forgotten, and why?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

Unit = Literal["share", "nats"]
Sign = Literal["answers", "tokens"]  # what comes before the score
Reason = Literal["only", "last", "highest", "earlier-as-good", "less-forgotten", Sign]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``score`` and ``forgotten`` of a checkpoint are in one unit: shares of answers that pass and
    of probe answers lost, or nats a token (the held-out loss with a minus, and the rise of the
    probes' log-perplexity). ``forgotten`` None: not measured, as the score alone is worse than
    another's value. ``error``: the score's standard error. ``ruled_out`` by training rows that
    were not answered as well as at another one, or by fewer held-out tokens that are right.
    """

    step: int
    score: float
    forgotten: float | None = 0.0
    error: float = 0.0
    ruled_out: Sign | None = None

    @property
    def value(self) -> float:
        """The score minus what was forgotten; a gain on a probe does not count."""
        return self.score - self.lost

    @property
    def lost(self) -> float:
        """What is known to be forgotten; gains are none."""
        return max(0.0, self.forgotten or 0.0)


FIELDS = tuple(each.name for each in fields(Checkpoint))


@dataclass(frozen=True, slots=True)
class CheckpointChoice:
    """The best checkpoint, why, and those that it was chosen from, by step."""

    best: Checkpoint
    reason: Reason
    checkpoints: tuple[Checkpoint, ...]
    unit: Unit

    @property
    def last(self) -> Checkpoint:
        """Where training ended."""
        return self.checkpoints[-1]

    @property
    def highest(self) -> Checkpoint:
        """The one of the highest score, whatever it forgot; of equals the earliest."""
        return max(self.checkpoints, key=lambda each: (each.score, -each.step))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "CheckpointChoice":
        """What `to_json` made."""
        found = {each["step"]: Checkpoint(**_renamed(each)) for each in values["checkpoints"]}
        checkpoints = tuple(found.values())
        return cls(found[values["step"]], values["reason"], checkpoints, values["unit"])

    def to_json(self) -> dict[str, Any]:
        """Step, reason, and every checkpoint with its value."""
        return {
            "step": self.best.step,
            "reason": self.reason,
            "unit": self.unit,
            "checkpoints": [{**asdict(each), "value": each.value} for each in self.checkpoints],
        }


def _renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a checkpoint, of an earlier version too."""
    former = {"ruled_out": "answers"} if values.get("answers") is False else {}
    return {key: values[key] for key in FIELDS if key in values} | former


def choose_checkpoint(checkpoints: Sequence[Checkpoint], *, unit: Unit) -> CheckpointChoice:
    """The highest value; of those within its standard error the earliest, as it trained least and
    the difference says nothing (Breiman et al. 1984, Classification and Regression Trees, 3.4.3:
    one standard error).

    *only*: there is one. *answers*, *tokens*: one that they rule out scores higher.
    *less-forgotten*: another one scores higher and forgot more. *earlier-as-good*: a later one is
    higher by less than the error. *last*: the end of the run is the best. *highest*: any other.

    Raises ValueError where none can be chosen, or for a step given twice.
    """
    ordered = tuple(sorted(checkpoints, key=lambda each: each.step))
    free = [each for each in ordered if each.ruled_out is None]
    if not free or len({each.step for each in ordered}) < len(ordered):
        raise ValueError("checkpoints are chosen from at least one, each step given once")
    top = max(free, key=lambda each: (each.value, -each.step))
    best = next(each for each in free if each.value >= top.value - top.error)
    choice = CheckpointChoice(best, "highest", ordered, unit)
    return CheckpointChoice(best, _reason(choice, top), ordered, unit)


def _reason(choice: CheckpointChoice, top: Checkpoint) -> Reason:
    best = choice.best
    if len(choice.checkpoints) == 1:
        return "only"
    rival = choice.highest
    if rival.ruled_out is not None and rival.score > best.score:
        return rival.ruled_out
    if rival.score - best.score > top.error and rival.lost > best.lost:
        return "less-forgotten"
    if best.step < top.step:
        return "earlier-as-good"
    return "last" if best is choice.last else "highest"
