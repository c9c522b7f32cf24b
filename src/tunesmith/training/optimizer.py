"""The optimizer of an adapter's tensors, AdamW with 32- or 8-bit moments, and its named state.

8-bit moments are held in blocks with a scale each (arXiv 2110.02861, section 2). The codes are
bitsandbytes' (dynamic tree quantization), the arithmetic is torch's, piece by piece through the
processor's cache: bitsandbytes' own kernel for processors is slower, and wrong below 3e-5 of a
block's largest number (docs/decisions/0004-bitsandbytes.md).
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tunesmith.config.run import DEFAULT_OPTIMIZER, OptimizerKind
from tunesmith.engine.shard import is_sharded, own_part
from tunesmith.methods.adapter import Adapter

BLOCK = 256  # elements that share a scale
SMALLEST = 4096  # elements; moments of fewer stay 32-bit, as bitsandbytes has it
# Elements updated at once, whole blocks: what a processor's cache holds; on a GPU what one launch
# is worth.
PIECES = {"cpu": 2**18, "cuda": 2**24}
BETAS, EPSILON = (0.9, 0.999), 1e-8
MOMENTS = ("exp_avg", "exp_avg_sq")
AVERAGE = "average"  # of the weights, where one is kept (`average.py`)


def wide_moments_of(parameter: Tensor) -> dict[str, Tensor]:
    """The state of a parameter in its own format, values unset: what plain AdamW has."""
    return {moment: torch.empty_like(parameter, requires_grad=False) for moment in MOMENTS}


def moments_of(parameter: Tensor) -> dict[str, Tensor]:
    """The state of a parameter, values unset: codes as large as it, and scales [blocks]."""
    if parameter.numel() < SMALLEST:
        return wide_moments_of(parameter)
    blocks = -(-parameter.numel() // BLOCK)
    state = {}
    for moment in MOMENTS:
        state[moment] = torch.empty_like(parameter, dtype=torch.uint8, requires_grad=False)
        state[_scales(moment)] = torch.empty(blocks, device=parameter.device)
    return state


def _scales(moment: str) -> str:
    return f"{moment}_scales"


class AdamW8bit(torch.optim.Optimizer):
    """Steps on the state of ``moments_of``, which must be there with its `step` before the first.

    Decay is taken apart from the gradient, as in torch's AdamW (arXiv 1711.05101).
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                state["step"] += 1
                if _scales(MOMENTS[0]) in state:
                    _step_narrow_(parameter, state, group)
                else:
                    moments = [state[moment] for moment in MOMENTS]
                    _step_(parameter, parameter.grad, moments, group, step=int(state["step"]))


def _step_narrow_(parameter: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
    """One update with 8-bit moments, piece by piece."""
    assert parameter.grad is not None
    values, gradient = parameter.view(-1), parameter.grad.view(-1)
    size = PIECES.get(parameter.device.type, PIECES["cuda"])
    step = int(state["step"])
    for start in range(0, len(values), size):
        part, blocks = slice(start, start + size), slice(start // BLOCK, (start + size) // BLOCK)
        held = [(state[m].view(-1)[part], state[_scales(m)][blocks]) for m in MOMENTS]
        moments = [
            _read(codes, scales, signed=signed)
            for (codes, scales), signed in zip(held, (True, False), strict=True)
        ]
        _step_(values[part], gradient[part], moments, group, step=step)
        for (codes, scales), moment, signed in zip(held, moments, (True, False), strict=True):
            _write_(codes, scales, moment, signed=signed)


def _step_(
    values: Tensor, gradient: Tensor, moments: list[Tensor], group: dict[str, Any], *, step: int
) -> None:
    """AdamW on fp32 tensors of one shape, moments and values in place."""
    first, second = moments
    first.lerp_(gradient, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    if decay := group["lr"] * group["weight_decay"]:
        values.mul_(1 - decay)
    roots = second.sqrt().div_(math.sqrt(1 - BETAS[1] ** step)).add_(EPSILON)
    values.addcdiv_(first, roots, value=-group["lr"] / (1 - BETAS[0] ** step))


def _read(codes: Tensor, scales: Tensor, *, signed: bool) -> Tensor:
    """The numbers [n] of codes [n] and scales [blocks]."""
    numbers, _ = _tables(codes.device, signed=signed)
    found = _blocks(numbers.index_select(0, codes.int())).mul_(scales[:, None])
    return found.view(-1)[: len(codes)]


def _write_(codes: Tensor, scales: Tensor, numbers: Tensor, *, signed: bool) -> None:
    """Put codes [n] and scales [blocks] of the numbers [n]: the nearest to each once in bf16."""
    _, nearest = _tables(codes.device, signed=signed)
    blocks = _blocks(numbers)
    torch.amax(blocks.abs(), dim=1, out=scales)
    shares = blocks / scales.clamp_min(torch.finfo(scales.dtype).tiny)[:, None]
    places = shares.bfloat16().view(torch.int16).int().add_(2**15)
    codes.copy_(nearest.index_select(0, places.view(-1))[: len(codes)])


def _blocks(numbers: Tensor) -> Tensor:
    """[n] as [blocks, BLOCK], the last one filled up with zeros."""
    short = -len(numbers) % BLOCK
    return (functional.pad(numbers, (0, short)) if short else numbers).view(-1, BLOCK)


@functools.cache
def _tables(device: torch.device, *, signed: bool) -> tuple[Tensor, Tensor]:
    """The number [256] of each code, and the code [65536] of each bf16 number's bits.

    A second moment above zero never becomes zero: the step would be divided by next to nothing.
    """
    numbers = dynamic_map(signed=signed)
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    shares = bits.view(torch.bfloat16).float().nan_to_num()
    nearest = torch.bucketize(shares, (numbers[1:] + numbers[:-1]) / 2)
    if not signed:
        nearest[shares > 0] = nearest[shares > 0].clamp_min(1)
    return numbers.to(device), nearest.to(torch.uint8).to(device)


def dynamic_map(*, signed: bool) -> Tensor:
    """The numbers [256] of dynamic tree quantization, between -1 or 0 and 1, as bitsandbytes' are.

    Each decade from 1e-6 up has twice as many of them as the one below (arXiv 1511.04561).
    """
    decades = []
    for decade in range(7):
        edges = torch.linspace(0.1, 1, 2 ** (decade + (not signed)) + 1)
        decades.append(10 ** (decade - 6) * ((edges[:-1] + edges[1:]) / 2))
    positive = torch.cat(decades)
    mirrored = [-positive] if signed else []
    return torch.cat([*mirrored, positive, torch.tensor([0.0, 1.0])]).sort().values


RATIO = "lr_ratio"
_STEP = "step"


@dataclass(frozen=True, slots=True)
class _Kind:
    """How an optimizer is made from its groups, and a parameter's state, values unset."""

    make: Callable[..., torch.optim.Optimizer]
    state_of: Callable[[Tensor], dict[str, Tensor]]
    counts_on_device: bool  # fused kernels do; what reads its steps would wait for the device


KINDS: dict[OptimizerKind, _Kind] = {
    "adamw": _Kind(functools.partial(torch.optim.AdamW, fused=True), wide_moments_of, True),
    "adamw8bit": _Kind(AdamW8bit, moments_of, False),
}


def build(
    adapter: Adapter,
    *,
    lr: float,
    weight_decay: float,
    kind: OptimizerKind = DEFAULT_OPTIMIZER,
    averages: bool = False,
) -> torch.optim.Optimizer:
    """AdamW (arXiv 1711.05101) with decay on all but vectors, its state made at once.

    State and gradients are allocated here, not in the first step, so that measured memory is the
    truth, and below the activations, which come and go: elsewhere they would cut the heap up.
    """
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
    decayed_names = adapter.decayed
    for name, parameter in adapter.trained.items():
        # a fused step takes sharded parameters, or whole ones
        key = (name in decayed_names, adapter.rates.get(name, 1.0), is_sharded(parameter))
        groups.setdefault(key, []).append(parameter)
    optimizer = KINDS[kind].make(
        [
            {"params": members, "weight_decay": decayed * weight_decay, RATIO: ratio}
            for (decayed, ratio, _), members in groups.items()
        ],
        lr=lr,
    )
    for parameter in adapter.trained.values():
        # written, not lazily mapped: only then does measured memory hold them
        state = {name: t.zero_() for name, t in KINDS[kind].state_of(parameter).items()}
        where = parameter.device if KINDS[kind].counts_on_device else None
        step = torch.zeros((), dtype=torch.float32, device=where)
        if averages:
            state[AVERAGE] = parameter.detach().clone()
        optimizer.state[parameter] = {_STEP: step, **state}
        parameter.grad = torch.empty_like(parameter, requires_grad=False).zero_()
    return optimizer


def set_rate_(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The rate of the next step; groups may have one relative to it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group[RATIO]


def zero_gradients_(optimizer: torch.optim.Optimizer) -> None:
    """Set all gradients to zero; they keep their places in memory."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    torch._foreach_zero_([own_part(p.grad) for p in parameters if p.grad is not None])


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
