"""How large the steps of a run are and how often it sees its rows, where settings say `auto`.

Measured: docs/methods.md, "Steps and passes".
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tunesmith.config.methods import AnyMethod
from tunesmith.config.run import ANSWERED, AUTO, MAX_ANSWERED, TOKEN_ACCURACY, TrainSettings
from tunesmith.core.numbers import pluralize
from tunesmith.training.steps import Copies, Lengths, total_steps

STEPS_A_PASS = 15  # rows of a step follow from them, within the bounds
MIN_ROWS_PER_STEP, ROWS_PER_STEP = 4, 8
MAX_TOKENS_PER_STEP = 4096  # of long rows fewer than ROWS_PER_STEP make a step
MAX_STEPS_A_PASS = 400  # where a pass would take more, its steps grow
EPOCHS = 3
PATIENCE = 3  # held-out losses without a better one, one a pass


@dataclass(frozen=True, slots=True)
class RunLength:
    """Settings in which nothing of this is `auto`, and what was chosen and why (None: nothing)."""

    settings: TrainSettings
    reason: str | None


def choose_length(
    settings: TrainSettings,
    lengths: Lengths,
    *,
    method: AnyMethod,
    has_held: bool,
    copies: Copies = (),
    checked_by: Literal["rule", "reference"] | None = None,
) -> RunLength:
    """Step size and passes for rows of these lengths (tokens).

    A step has as many tokens as `ROWS_PER_STEP` rows of mean length; fewer of few rows, so that a
    pass has `STEPS_A_PASS` steps, down to `MIN_ROWS_PER_STEP`; more where a pass would have more
    than `MAX_STEPS_A_PASS`; never more than `MAX_TOKENS_PER_STEP`. Passes rise from `EPOCHS` until
    the run has enough steps for the method, and end at its most passes. With rows held out, their
    loss is then measured after each pass, and `PATIENCE` ends the run; ``checked_by`` says how its
    best pass is chosen (`held_out.py`). Where it can end before the last step, while the rate is
    high, the average of the weights over a pass is measured (`average.py`).
    """
    changes: dict[str, object] = {}
    reasons = []
    counts = np.asarray(copies) if len(copies) else np.ones(len(lengths))
    rows, tokens = float(counts.sum()), float((counts * np.asarray(lengths)).sum())
    if settings.rows_per_step is None and settings.tokens_per_step == AUTO:
        few = min(ROWS_PER_STEP, max(MIN_ROWS_PER_STEP, rows / STEPS_A_PASS))
        size = max(few * tokens / rows, tokens / MAX_STEPS_A_PASS)
        changes["tokens_per_step"] = size = max(1, min(MAX_TOKENS_PER_STEP, math.ceil(size)))
        steps = _steps_of_pass(lengths, settings.model_copy(update=changes), copies)
        of_rows = pluralize(max(1, round(rows / steps)), "row")
        reasons.append(f"steps of up to {pluralize(size, 'token')} ({of_rows})")
    if settings.passes_are_auto:
        steps = _steps_of_pass(lengths, settings.model_copy(update=changes), copies)
        epochs = min(method.max_epochs, max(EPOCHS, math.ceil(method.enough_steps / steps)))
        changes["epochs"] = float(epochs)
        whole = settings.model_copy(update=changes)
        all_steps, seen = total_steps(lengths, whole, copies=copies), pluralize(round(rows), "row")
        reasons.append(f"{epochs} passes over {seen}, {pluralize(all_steps, 'step')}")
        if has_held and settings.evaluate_steps is None:
            changes["evaluate_steps"] = steps
        if has_held and settings.patience is None:
            changes["patience"] = patience_for(steps, settings.evaluate_steps or steps)
            reasons.append(f"fewer if {PATIENCE} passes in a row bring no better checkpoint")
        may_end_early = has_held and _may_end_early(settings.model_copy(update=changes), all_steps)
        if may_end_early and settings.average_steps == AUTO:
            changes["average_steps"] = steps
            reasons.append("the result is the average of the weights over a pass")
        if has_held and checked_by == "rule" and settings.answer_rows == AUTO:
            changes["answer_rows"] = answered = answered_of(len(lengths))
            asked = pluralize(min(answered, len(lengths)), "training row")
            reasons.append(f"the best pass is the one that gets most of {asked} right")
    is_unsaid = settings.best_by == AUTO and not settings.answered_rows
    if has_held and checked_by == "reference" and is_unsaid:
        changes["best_by"] = TOKEN_ACCURACY
        reasons.append("the best checkpoint is the one that gets most held-out tokens right")
    if not changes:
        return RunLength(settings, None)
    return RunLength(settings.model_copy(update=changes), "auto: " + "; ".join(reasons))


def _steps_of_pass(lengths: Lengths, settings: TrainSettings, copies: Copies) -> int:
    one = settings.model_copy(update={"epochs": 1.0, "steps": None})
    return total_steps(lengths, one, copies=copies)


def _may_end_early(settings: TrainSettings, steps: int) -> bool:
    """Whether losses that rise from the first on would end a run before so many steps."""
    assert settings.patience is not None
    assert settings.evaluate_steps is not None
    return (settings.patience + 1) * settings.evaluate_steps < steps


def answered_of(rows: int) -> int:
    """How many of so many training rows are answered: more of a longer run, as more tell more."""
    return min(MAX_ANSWERED, max(ANSWERED, round(rows / 5)))


def patience_for(steps_a_pass: float, evaluate_steps: int) -> int:
    """Held-out losses in `PATIENCE` passes, one after every so many steps."""
    return max(1, math.ceil(PATIENCE * steps_a_pass / evaluate_steps))
