"""Types for torch's autograd functions, which torch itself leaves open."""

from typing import Any, Protocol

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


def accumulate_(parameter: Tensor, grad: Tensor) -> None:
    """Add a gradient to ``parameter.grad`` at once, instead of handing it to autograd.

    A tied head and embedding would otherwise hold two more [V, D] tensors until both are known.
    ``grad`` must be the caller's own: it may become ``parameter.grad`` itself.
    """
    if parameter.grad is None:
        parameter.grad = grad.to(parameter.dtype)
    else:
        parameter.grad += grad
