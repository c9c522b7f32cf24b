"""float16's smallest gradients would be zero: a power of two in front of backward keeps them.

Micikevicius et al. 2018 (arXiv 1710.03740, sections 3.2 and 5). It multiplies the loss and divides
the gradients, which alters no digit of what neither vanishes nor overflows.
"""

import math
from dataclasses import replace

import torch

from tunesmith.core.progress import Notice
from tunesmith.training.checkpoint import State
from tunesmith.training.job import Round

# Where torch's GradScaler begins, and how many steps without an overflow let it double.
FIRST, GROWTH_STEPS = 2.0**16, 2000
LARGEST = 2.0**24


def scale_of(state: State, dtype: torch.dtype) -> float:
    """What the loss is multiplied by in this state; 1 where gradients are not in float16."""
    if dtype != torch.float16:
        return 1.0
    return FIRST if state.loss_scale is None else state.loss_scale


def scale_now(each: Round) -> float:
    """That of a member's next step."""
    return scale_of(each.member.state, each.member.job.engine.compute_dtype)


def unscale_(each: Round) -> None:
    """Divide a member's gradients by its scale."""
    if (scale := scale_now(each)) == 1:
        return
    for parameter in each.member.job.adapter.trained.values():
        if parameter.grad is not None:
            parameter.grad.mul_(1 / scale)


def overflowed(each: Round, *, loss: float, norm: float) -> bool:
    """Whether the loss is a number and a smaller scale may give gradients that are numbers."""
    return scale_now(each) > 1 and math.isfinite(loss) and not math.isfinite(norm)


def halve_(each: Round) -> Notice:
    """Begin a member's step anew with half its scale; what to report."""
    member, scale = each.member, scale_now(each) / 2
    member.drop_gradients()
    member.state = replace(member.state, loss_scale=scale, loss_scale_steps=0)
    text = f"step {member.state.step + 1} overflowed float16: the loss scale is {scale:,.0f} now"
    return Notice("loss_scale", text)


def advanced(state: State, dtype: torch.dtype) -> State:
    """The state after a step."""
    if dtype != torch.float16:
        return state
    scale, steps = scale_of(state, dtype), state.loss_scale_steps + 1
    if steps >= GROWTH_STEPS:
        scale, steps = min(LARGEST, 2 * scale), 0
    return replace(state, loss_scale=scale, loss_scale_steps=steps)
