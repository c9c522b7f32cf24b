"""AdamW whose moments are held in 8 bit, in blocks with a scale each (arXiv 2110.02861).

The moments are dequantised, updated in fp32 and quantised again (section 2, dynamic tree
quantisation), all by bitsandbytes' kernels. On a CPU these hold several fp32 copies of what they
update, so a tensor is handed over in pieces of whole blocks: the same numbers in less memory.
"""

import functools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from tunesmith.errors import ConfigError

BLOCK = 256  # elements that share a scale: of bitsandbytes' kernels
SMALLEST = 4096  # elements; moments of fewer stay in 32 bit, as bitsandbytes has it
PIECE = 2**22  # elements updated at once, whole blocks
BETAS, EPSILON = (0.9, 0.999), 1e-8
MOMENTS = ("exp_avg", "exp_avg_sq")


def wide_moments_of(parameter: Tensor) -> dict[str, Tensor]:
    """The state of a parameter in its own format, values unset: what plain AdamW has."""
    return {moment: torch.empty_like(parameter, requires_grad=False) for moment in MOMENTS}


def moments_of(parameter: Tensor) -> dict[str, Tensor]:
    """The state of a parameter, values unset: codes as large as it, and scales [blocks]."""
    if parameter.numel() < SMALLEST:
        return wide_moments_of(parameter)
    blocks = -(-parameter.numel() // BLOCK)
    codes = {
        m: torch.empty_like(parameter, dtype=torch.uint8, requires_grad=False) for m in MOMENTS
    }
    scales = {
        _scales(m): torch.empty(blocks, dtype=torch.float32, device=parameter.device)
        for m in MOMENTS
    }
    return codes | scales


def _scales(moment: str) -> str:
    return f"{moment}_scales"


class AdamW8bit(torch.optim.Optimizer):
    """Steps on the state of ``moments_of``, which must be there with its `step` before the first.

    Raises ConfigError where bitsandbytes does not work.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})
        self._functional = _functional()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                state["step"] += 1
                update = self._narrow if _scales(MOMENTS[0]) in state else self._wide
                update(parameter, state, group)

    def _narrow(self, parameter: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """In 8 bit, piece by piece."""
        codes = [state[moment].view(-1) for moment in MOMENTS]
        scales = [state[_scales(moment)] for moment in MOMENTS]
        assert parameter.grad is not None
        numbers = (parameter.grad.view(-1), parameter.data.view(-1), *codes)
        step, maps = int(state["step"]), _maps(parameter.device)
        for start in range(0, parameter.numel(), PIECE):
            gradient, values, *piece = (t[start : start + PIECE] for t in numbers)
            blocks = slice(start // BLOCK, (start + PIECE) // BLOCK)
            self._functional.optimizer_update_8bit_blockwise(
                "adam",
                gradient,
                values,
                *piece,
                *BETAS,
                0.0,  # beta3 and alpha are other optimizers'
                0.0,
                EPSILON,
                step,
                group["lr"],
                *maps,
                *(scale[blocks] for scale in scales),
                group["weight_decay"],
            )

    def _wide(self, parameter: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """In 32 bit."""
        first, second = (state[moment] for moment in MOMENTS)
        self._functional.optimizer_update_32bit(
            "adam",
            parameter.grad,
            parameter.data,
            first,
            BETAS[0],
            EPSILON,
            int(state["step"]),
            group["lr"],
            second,
            BETAS[1],
            weight_decay=group["weight_decay"],
        )


@functools.cache
def _maps(device: torch.device) -> tuple[Tensor, Tensor]:
    """The numbers [256] that codes stand for: with a sign for the first moment, without after."""
    make = _functional().create_dynamic_map
    return make(signed=True).to(device), make(signed=False).to(device)


@functools.cache
def _functional() -> Any:
    """bitsandbytes.functional; loaded only where it is used."""
    try:
        from bitsandbytes import functional
    except (ImportError, RuntimeError, OSError) as error:
        raise ConfigError(
            f"train.optimizer adamw8bit needs bitsandbytes, which does not work here: {error}",
            remedy="Install it (pip install bitsandbytes), or leave train.optimizer out.",
        ) from error
    return functional
