"""The optimizer of an adapter's tensors, and its state as named tensors without pickle."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tunesmith.config.run import DEFAULT_OPTIMIZER, OptimizerKind
from tunesmith.methods.adapter import Adapter
from tunesmith.training import adamw8bit

RATIO = "lr_ratio"
_STEP = "step"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How an optimizer is made from its groups, and a parameter's state, values unset."""

    make: Callable[..., torch.optim.Optimizer]
    state_of: Callable[[Tensor], dict[str, Tensor]]


KINDS: dict[OptimizerKind, _Kind] = {
    "adamw": _Kind(functools.partial(torch.optim.AdamW, fused=True), adamw8bit.wide_moments_of),
    "adamw8bit": _Kind(adamw8bit.AdamW8bit, adamw8bit.moments_of),
}


def build(
    adapter: Adapter, *, lr: float, weight_decay: float, kind: OptimizerKind = DEFAULT_OPTIMIZER
) -> torch.optim.Optimizer:
    """AdamW (arXiv 1711.05101) with decay on all but vectors, its state made at once.

    State and gradients are allocated here, not in the first step, so that measured memory is the
    truth, and below the activations, which come and go: elsewhere they would cut the heap up.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    decayed_names = adapter.decayed
    for name, parameter in adapter.trained.items():
        key = (name in decayed_names, adapter.rates.get(name, 1.0))
        groups.setdefault(key, []).append(parameter)
    optimizer = KINDS[kind].make(
        [
            {"params": members, "weight_decay": decayed * weight_decay, RATIO: ratio}
            for (decayed, ratio), members in groups.items()
        ],
        lr=lr,
    )
    for parameter in adapter.trained.values():
        state = {name: _zeros(t) for name, t in KINDS[kind].state_of(parameter).items()}
        # fused kernels want the step where the parameter is
        step = torch.zeros((), dtype=torch.float32, device=parameter.device)
        optimizer.state[parameter] = {_STEP: step, **state}
        parameter.grad = _zeros(torch.empty_like(parameter, requires_grad=False))
    return optimizer


def _zeros(tensor: Tensor) -> Tensor:
    """Written, not lazily mapped: only then does measured memory hold them."""
    return tensor.zero_()


def set_rate_(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The rate of the next step; groups may have one relative to it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[RATIO]


def state_tensors(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
) -> dict[str, dict[str, Tensor]]:
    """The state by kind (exp_avg, ...), of each the tensors by parameter; all but the step."""
    kinds: dict[str, dict[str, Tensor]] = {}
    for name, parameter in parameters.items():
        for kind, tensor in optimizer.state.get(parameter, {}).items():
            if kind != _STEP:
                kinds.setdefault(kind, {})[name] = tensor
    return kinds


def set_steps_(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], steps: int
) -> None:
    """Set how many updates the moments have seen."""
    for parameter in parameters.values():
        if parameter.requires_grad:
            optimizer.state[parameter][_STEP].fill_(steps)
