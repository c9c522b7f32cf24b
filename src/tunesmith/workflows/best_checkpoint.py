"""Which of a run's checkpoints is its result: held-out loss and what was forgotten, weighed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.evaluate.forgetting.findings import Forgetting
from tunesmith.evaluate.overtuning.checkpoints import Checkpoint, Choice, choose_checkpoint
from tunesmith.train import checkpoint
from tunesmith.train.run_folder import RunFolder

Forget = Callable[[Path], Forgetting | None]  # of the run as it was at a checkpoint


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint on disk and its held-out loss."""

    step: int
    folder: Path
    loss: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """The choice, where its tensors lie, and what was measured of it on the way."""

    choice: Choice
    folder: Path
    forgetting: Forgetting | None


def kept_checkpoints(folder: RunFolder, best_step: int | None) -> list[Kept]:
    """Every checkpoint that is there and has a held-out loss that is a number, by step.

    ``best_step`` is that of the lowest held-out loss, whose tensors are kept aside.
    """
    losses = {s: loss for s, loss in folder.held_out_losses().items() if math.isfinite(loss)}
    found = {checkpoint.step_of(path): path for path in folder.checkpoints.glob("step-*")}
    if best_step is not None:
        found.setdefault(best_step, folder.checkpoints / checkpoint.BEST)
    return [Kept(step, found[step], losses[step]) for step in sorted(found) if step in losses]


def choose_kept(kept: Sequence[Kept], forgotten: Forget | None) -> Chosen | None:
    """The best of at least two; None without a choice, or where ``forgotten`` came to no end.

    The value is minus the held-out loss minus the rise of the probes' log-perplexity, both in nats
    a token. A probe can only lower it, so that those whose loss alone is worse than a value that
    is known are not measured. Without ``forgotten`` the loss decides.
    """
    if len(kept) < 2:
        return None
    found: dict[int, Forgetting] = {}
    known: list[Checkpoint] = []
    best = -math.inf
    for each in sorted(kept, key=lambda each: (each.loss, -each.step)):
        score, rise = -each.loss, None
        if forgotten is not None and score >= best:
            measured = forgotten(each.folder)
            if measured is None:
                return None
            found[each.step], rise = measured, rise_of(measured)
        known.append(Checkpoint(each.step, score, rise))
        best = max(best, known[-1].value)
    choice = choose_checkpoint(known, unit="nats")
    folders: Mapping[int, Path] = {each.step: each.folder for each in kept}
    return Chosen(choice, folders[choice.best.step], found.get(choice.best.step))


def rise_of(forgetting: Forgetting) -> float:
    """Mean rise of the log-perplexity over the probes that are texts; 0 without any."""
    rises = [
        math.log(each.tuned / each.base)
        for each in forgetting.findings
        if each.measure == "perplexity" and not each.part
    ]
    return sum(rises) / len(rises) if rises else 0.0
