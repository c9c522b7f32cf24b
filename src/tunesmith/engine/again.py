"""Tensors that are cheap to compute again: what they came from is kept in their place.

Outputs of norms and of gated units, whose inputs are kept for their own backward anyway.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

_MARK = "_tunesmith_again"
Sources = tuple[Tensor, Tensor]


@dataclass(slots=True, eq=False)
class Again:
    """How a tensor is computed again. Those that need it in backward share one result."""

    compute: Callable[[Tensor, Tensor], Tensor]
    users: int = 0
    _value: Tensor | None = None

    def take(self, sources: Sources) -> Tensor:
        """The tensor, for one of its users: the first computes it, the last lets it go."""
        value = self.compute(*sources) if self._value is None else self._value
        self.users -= 1
        self._value = value if self.users else None
        return value


def mark(tensor: Tensor, compute: Callable[[Tensor, Tensor], Tensor], *sources: Tensor) -> Tensor:
    """Note that ``compute(*sources)``, of two tensors, gives the tensor again, to the last bit."""
    one, other = (source.detach() for source in sources)
    setattr(tensor, _MARK, (Again(compute), (one, other)))
    return tensor


def marked(tensor: Tensor) -> tuple[Again, Sources] | tuple[None, None]:
    """How to compute a tensor again, and from what; None where it must be kept itself."""
    found: tuple[Again, Sources] | tuple[None, None] = getattr(tensor, _MARK, (None, None))
    return found
