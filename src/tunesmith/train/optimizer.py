"""AdamW (fused) over an adapter's tensors, and its state as named tensors without pickle."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tunesmith.methods.adapter import Adapter

MOMENTS = ("exp_avg", "exp_avg_sq")
RATIO = "lr_ratio"


def build(adapter: Adapter, *, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) with decay on matrices only, its state made at once.

    State and gradients are allocated here, not in the first step, so that measured memory is the
    truth, and below the activations, which come and go: elsewhere they would cut the heap up.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in adapter.trained.items():
        key = (name in adapter.decayed, adapter.rates.get(name, 1.0))
        groups.setdefault(key, []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": members, "weight_decay": decayed * weight_decay, RATIO: ratio}
            for (decayed, ratio), members in groups.items()
        ],
        lr=lr,
        fused=True,
    )
    for parameter in adapter.trained.values():
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32),
            **{moment: _zeros(parameter) for moment in MOMENTS},
        }
        parameter.grad = _zeros(parameter)
    return optimizer


def _zeros(parameter: Tensor) -> Tensor:
    """Written, not lazily mapped: only then does measured memory hold them."""
    return torch.empty_like(parameter, requires_grad=False).zero_()


def set_rate_(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The rate of the next step; groups may have one relative to it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[RATIO]


def moments(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], moment: str
) -> dict[str, Tensor]:
    """One of the moments of every parameter that is trained, by its name."""
    return {n: optimizer.state[p][moment] for n, p in parameters.items() if p.requires_grad}


def set_steps_(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], steps: int
) -> None:
    """Set how many updates the moments have seen."""
    for parameter in parameters.values():
        if parameter.requires_grad:
            optimizer.state[parameter]["step"].fill_(steps)


def restore_(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    moment: str,
    tensors: Mapping[str, Tensor],
) -> None:
    """Put one of the moments of every parameter that is trained back."""
    for name, parameter in parameters.items():
        if parameter.requires_grad:
            optimizer.state[parameter][moment].copy_(tensors[name])
