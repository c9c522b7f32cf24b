"""Numbers of the host to a device: one copy for all, and the host does not wait for it.

A plain copy to a GPU waits until the GPU has done everything that was asked of it before.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNMENT = 16  # bytes: each tensor begins where any format may


def send(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The tensors, which lie on the CPU, on ``device``; those of a CPU are returned as they are.

    On CUDA they go through pinned memory: only from there a copy runs beside the host.
    """
    if device.type == "cpu" or not tensors:
        return list(tensors)
    ends, size = [], 0
    for tensor in tensors:
        size += -size % ALIGNMENT + tensor.nbytes
        ends.append(size)
    buffer = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for tensor, end in zip(tensors, ends, strict=True):
        _part(buffer, tensor, end).copy_(tensor)
    moved = buffer.to(device, non_blocking=True)
    return [_part(moved, tensor, end) for tensor, end in zip(tensors, ends, strict=True)]


def _part(buffer: Tensor, like: Tensor, end: int) -> Tensor:
    """The bytes before ``end`` as a tensor like this one."""
    return buffer[end - like.nbytes : end].view(like.dtype).view(like.shape)
