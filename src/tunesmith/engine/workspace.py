"""Large buffers that one call after another works in, so that the heap is not cut up by them."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Workspace:
    """Buffers of a shape and format, lent to one call at a time.

    A call that finds its buffer lent gets a new one; one that is never given back is forgotten.
    """

    def __init__(self) -> None:
        self._free: dict[tuple[tuple[int, ...], torch.dtype, torch.device], Tensor] = {}

    def take(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """A buffer with whatever is in it."""
        kept = self._free.pop((tuple(shape), dtype, device), None)
        return torch.empty(*shape, dtype=dtype, device=device) if kept is None else kept

    def give(self, *buffers: Tensor) -> None:
        """Hand buffers back; their contents may be overwritten from now on."""
        for buffer in buffers:
            self._free[tuple(buffer.shape), buffer.dtype, buffer.device] = buffer
