"""What our autograd functions share: torch's types, and tensors recomputed in backward.

Outputs of norms and of gated units, whose inputs are kept for their own backward anyway.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function


class Context(Protocol):
    """What a function keeps between its forward and its backward."""

    plan: Any
    saved_tensors: tuple[Any, ...]
    needs_input_grad: tuple[bool, ...]

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors; None keeps a place."""


Gradients = tuple[Tensor | None, ...]


def apply(function: type[Function], *arguments: object) -> Tensor:
    """Call a function that returns one tensor."""
    result: Tensor = function.apply(*arguments)  # type: ignore[no-untyped-call]
    return result


def gradient_of(parameter: Tensor) -> Tensor:
    """``parameter.grad``, zeros at first: for gradients that are added to it directly.

    Through autograd, those of a tied head and embedding would be two more [V, D] tensors.
    """
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


_MARK = "_tunesmith_recompute"
Sources = tuple[Tensor, Tensor]


@dataclass(slots=True, eq=False)
class Recompute:
    """How a tensor is recomputed. All its users in backward share one result."""

    compute: Callable[[Tensor, Tensor], Tensor]
    users: int = 0
    _value: Tensor | None = None

    def take(self, sources: Sources) -> Tensor:
        """The tensor, for one of its users: the first computes it, the last releases it."""
        value = self.compute(*sources) if self._value is None else self._value
        self.users -= 1
        self._value = value if self.users else None
        return value


def mark(tensor: Tensor, compute: Callable[[Tensor, Tensor], Tensor], *sources: Tensor) -> Tensor:
    """Record that ``compute(*sources)``, of two tensors, recomputes the tensor to the last bit."""
    one, other = (source.detach() for source in sources)
    setattr(tensor, _MARK, (Recompute(compute), (one, other)))
    return tensor


def marked(tensor: Tensor) -> tuple[Recompute, Sources] | tuple[None, None]:
    """How to recompute a tensor, and from what; None where it must be kept itself."""
    found: tuple[Recompute, Sources] | tuple[None, None] = getattr(tensor, _MARK, (None, None))
    return found
