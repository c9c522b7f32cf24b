"""Types for torch's autograd functions, which torch itself leaves open."""

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
    """``parameter.grad``, zeros at first: for gradients that are added to it at once.

    Handed to autograd, those of a tied head and embedding would be two more [V, D] tensors.
    """
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
