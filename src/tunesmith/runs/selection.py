"""Which of a run's checkpoints is its result, and at which adapter scale?

The share goes from the base (0) to what was trained (1): of full fine-tuning, weights between those
of the base and the trained ones, which is WiSE-FT (Wortsman et al. 2022, arXiv 2109.01903, section
3); of a LoRA, s B A times the share, which is the same of W + s B A.
"""

import bisect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.adapters import store
from tunesmith.config.run import TOKEN_ACCURACY
from tunesmith.core.numbers import percent
from tunesmith.engine.shard import own_part
from tunesmith.evaluation.checkpoints import (
    Checkpoint,
    CheckpointChoice,
    Sign,
    choose_checkpoint,
)
from tunesmith.evaluation.forgetting import AdapterScale, Forgetting
from tunesmith.methods import table
from tunesmith.methods.adapter import Adapter, Tensors
from tunesmith.runs.folder import RunFolder
from tunesmith.training import checkpoint

# Of the run as it was at a checkpoint, by all probes or by those that are texts.
ForgettingAt = Callable[[Path, bool], Forgetting]


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """A checkpoint on disk and its held-out loss.

    ``ruled_out``: what another one does better, where that comes before the loss.
    """

    step: int
    folder: Path
    loss: float
    ruled_out: Sign | None = None


@dataclass(frozen=True, slots=True)
class ChosenCheckpoint:
    """The choice, where its tensors lie, and what it forgot by all probes, where that is known."""

    choice: CheckpointChoice
    folder: Path
    forgetting: Forgetting | None


def kept_checkpoints(folder: RunFolder, best_step: int | None) -> list[KeptCheckpoint]:
    """Every checkpoint that is there and has a held-out loss that is a number, by step.

    ``best_step`` is that of the best one, whose tensors are kept aside.
    """
    losses, (sign, shares) = _finite_losses(folder), _shares(folder)
    most = max(shares.values(), default=0.0)
    found = {checkpoint.step_of(path): path for path in folder.checkpoints.glob("step-*")}
    if best_step is not None:
        found.setdefault(best_step, folder.checkpoints / checkpoint.BEST)
    return [
        KeptCheckpoint(
            step,
            found[step],
            losses[step],
            None if step == best_step or shares.get(step, 0.0) >= most else sign,
        )
        for step in sorted(found)
        if step in losses
    ]


def _finite_losses(folder: RunFolder) -> dict[int, float]:
    return {s: loss for s, loss in folder.held_out_losses().items() if math.isfinite(loss)}


def _shares(folder: RunFolder) -> tuple[Sign, dict[int, float]]:
    """What decides before the loss, and its shares by step; none where nothing does."""
    if passed := folder.passed():
        return "answers", passed
    is_by_tokens = folder.read_config().train.best_by == TOKEN_ACCURACY
    return "tokens", folder.token_accuracies() if is_by_tokens else {}


def sign_text(folder: RunFolder, best_step: int | None) -> str | None:
    """Why the result is not the checkpoint of the lowest held-out loss, where answers to training
    rows or held-out tokens decided.
    """
    losses, (sign, shares) = _finite_losses(folder), _shares(folder)
    lowest = min(losses, key=lambda step: (losses[step], step), default=None)
    if best_step is None or lowest is None or not {best_step, lowest} <= shares.keys():
        return None
    if shares[lowest] >= shares[best_step]:
        return None
    if sign == "tokens":
        return (
            f"step {lowest:,} has the lowest held-out loss ({losses[lowest]:.2f}), but "
            f"{percent(shares[lowest], 2)} of the held-out tokens are right there, and "
            f"{percent(shares[best_step], 2)} at step {best_step:,} ({losses[best_step]:.2f})"
        )
    return (
        f"step {lowest:,} has the lowest held-out loss ({losses[lowest]:.2f}), but "
        f"{percent(shares[lowest])} of the answers to training rows pass the first check there, "
        f"and {percent(shares[best_step])} at step {best_step:,} ({losses[best_step]:.2f})"
    )


def choose_kept(
    kept: Sequence[KeptCheckpoint], forgotten: ForgettingAt | None
) -> ChosenCheckpoint | None:
    """The best of at least two; None without a choice.

    The value is minus the held-out loss minus the rise of the probes' log-perplexity, both in nats
    a token. A probe can only lower it, so that those whose loss alone is worse than a value that
    is known are not measured. Of all but the first, texts alone are. Without ``forgotten`` the loss
    decides. One that is ruled out is no choice.
    """
    if len(kept) < 2:
        return None
    found: dict[int, Forgetting] = {}
    known: list[Checkpoint] = []
    best = -math.inf
    for each in sorted(kept, key=lambda each: (each.loss, -each.step)):
        score, rise = -each.loss, None
        if forgotten is not None and each.ruled_out is None and score >= best:
            found[each.step] = forgotten(each.folder, not found)
            rise = rise_of(found[each.step])
        known.append(Checkpoint(each.step, score, rise, ruled_out=each.ruled_out))
        best = max(best, known[-1].value) if each.ruled_out is None else best
    choice = choose_checkpoint(known, unit="nats")
    folders: Mapping[int, Path] = {each.step: each.folder for each in kept}
    measured = found.get(choice.best.step)
    whole = measured if measured and measured.is_whole else None
    return ChosenCheckpoint(choice, folders[choice.best.step], whole)


def rise_of(forgetting: Forgetting) -> float:
    """Mean rise of the log-perplexity over the probes that are texts; 0 without any."""
    rises = [
        math.log(each.tuned / each.base)
        for each in forgetting.findings
        if each.measure == "perplexity" and not each.part
    ]
    return sum(rises) / len(rises) if rises else 0.0


SHARES = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)

Score = Callable[[], float]  # of the first check, held out
Forget = Callable[[Sequence[str] | None], Forgetting]  # by these probes, or by all


@dataclass(frozen=True, slots=True)
class ChosenScale:
    """The scale that the adapter has now, if another one was tried, and what it forgot."""

    scale: AdapterScale | None
    forgetting: Forgetting


def find_scale(
    adapter: Adapter,
    start: Tensors,
    *,
    score: Score,
    forget: Forget,
    allowed: float,
    full: Forgetting | None,
) -> ChosenScale | None:
    """Scale ``adapter`` down as far as the margins of forgetting ask.

    Its scale stays 1 where its score would fall by more than ``allowed``. ``start`` gives the
    base's weights by name. ``full`` is what it forgot at scale 1, where that is known. None where
    its method cannot be scaled down.
    """
    if not table.scales_down(adapter):
        return None
    full = full or forget(None)
    if full.outcome != "forgotten":
        return ChosenScale(None, full)
    # on the CPU: where the base itself was trained, an accelerator has no room for it twice
    tensors = {n: own_part(p.detach()).to("cpu", copy=True) for n, p in adapter.parameters.items()}
    now, found = 1.0, ChosenScale(None, full)

    def set_scale(share: float) -> None:
        nonlocal now
        if share != now:
            now = math.nan  # until all of it is there, whatever interrupts
            store.put_(adapter, tensors)
            table.scale_down_(adapter, share, start)
            now = share

    try:
        found = _search(set_scale, score, forget, full, allowed)
    finally:
        set_scale(found.scale.share if found.scale else 1.0)
    return found


def _search(
    set_scale: Callable[[float], None],
    score: Score,
    forget: Forget,
    full: Forgetting,
    allowed: float,
) -> ChosenScale:
    """The largest share that keeps the probes; then all of them and its score decide."""
    worst = full.forgotten[0]
    of_worst = (worst.probe, worst.measure, worst.difference.mean)
    nothing = ChosenScale(AdapterScale(1.0, None, *of_worst), full)
    probes = [finding.probe for finding in full.forgotten]

    def forgets(share: float) -> bool:
        set_scale(share)
        return forget(probes).outcome != "kept"

    # by bisection, as a larger scale forgets more
    place = bisect.bisect_left(SHARES, True, key=lambda share: not forgets(share))
    if place == len(SHARES):
        return nothing
    share = SHARES[place]
    set_scale(1.0)
    full_score = score()
    set_scale(share)
    now, forgetting = score(), forget(None)
    if forgetting.outcome == "forgotten":  # by a probe that scale 1 had kept
        return nothing
    if math.isnan(full_score - now):  # the evaluation reports why nothing could be scored
        return ChosenScale(None, full)
    decided = share if full_score - now <= allowed else 1.0
    means = {finding.probe: finding.difference.mean for finding in forgetting.findings}
    scale = AdapterScale(decided, share, *of_worst, means[worst.probe], full_score, now)
    return ChosenScale(scale, forgetting if decided == share else full)
