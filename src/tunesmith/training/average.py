"""The moving average of what is trained, which held-out losses and the result are of.

While the rate is high, weights swing around what they have learned. Their average does not, at any
step (Izmailov et al. 2018, arXiv 1803.05407), so that a run may end when its held-out loss does,
and not only where its rate was planned to have fallen. Measured: docs/methods.md, "Steps and
passes".
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from tunesmith.engine.shard import own_part
from tunesmith.methods.adapter import Adapter
from tunesmith.training.optimizer import AVERAGE


@torch.no_grad()
def update_(adam: torch.optim.Optimizer, *, window: int, step: int, steps: int) -> None:
    """Count the weights after ``step`` of ``steps`` steps into their average, where one is kept.

    It is exponential, over a ``window`` of steps; over as many as there were, or as are left, where
    these are fewer: at the end the rate has fallen, and the average is of the last weights.
    """
    averages, weights = _tensors(adam)
    if averages:
        torch._foreach_lerp_(averages, weights, 1 / max(1, min(window, step, steps - step)))


@contextmanager
def in_place(adam: torch.optim.Optimizer, adapter: Adapter) -> Iterator[None]:
    """Within it the adapter has its average, where one is kept."""
    swap_(adam, adapter)
    try:
        yield
    finally:
        swap_(adam, adapter)


@torch.no_grad()
def swap_(adam: torch.optim.Optimizer, adapter: Adapter) -> None:
    """Exchange weights and average, where one is kept."""
    averages, weights = _tensors(adam)
    for average, weight in zip(averages, weights, strict=True):
        kept = weight.clone()
        weight.copy_(average)
        average.copy_(kept)
    if averages:
        adapter.refresh()


def _tensors(adam: torch.optim.Optimizer) -> tuple[list[Tensor], list[Tensor]]:
    """Averages and weights, in one order; of sharded ones what this rank holds."""
    held = [(p.detach(), state[AVERAGE]) for p, state in adam.state.items() if AVERAGE in state]
    return [own_part(a) for _, a in held], [own_part(p) for p, _ in held]
