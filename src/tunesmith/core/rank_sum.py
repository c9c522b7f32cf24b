"""Tensors between ranks: sums in one fixed binary tree, the same bytes on each; rank 0's."""

from collections.abc import Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from tunesmith.core import ranks
from tunesmith.core.rank_tasks import settle

PIECE_BYTES = 2**26  # of what is sent at once


def sum_over_ranks_(tensors: Sequence[Tensor]) -> None:
    """Put the sum over all ranks into each tensor, which has the same bytes on every rank then.

    It is the sum of a binary tree: ranks 0 + 1, 2 + 3, ..., then (0 + 1) + (2 + 3), ...
    """
    settle()
    with ranks.meeting() as group:
        if group is None:
            return
        for piece in _pieces(tensors):
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in piece])
            whole = _summed(flat)
            parts = torch.split(whole[: len(flat)], [tensor.numel() for tensor in piece])
            for tensor, part in zip(piece, parts, strict=True):
                tensor.detach().copy_(part.view(tensor.shape))


def copy_from_first_(tensors: Sequence[Tensor]) -> None:
    """Put rank 0's numbers into each tensor."""
    with ranks.meeting() as group:
        for tensor in tensors if group else ():
            whole = tensor.detach().contiguous()
            dist.broadcast(whole, src=0)
            if whole.data_ptr() != tensor.data_ptr():
                tensor.detach().copy_(whole)


def _pieces(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one format and device together, about `PIECE_BYTES` of them."""
    piece: list[Tensor] = []
    for tensor in tensors:
        kind = (tensor.dtype, tensor.device)
        held = sum(each.nbytes for each in piece)
        if piece and (kind != (piece[0].dtype, piece[0].device) or held > PIECE_BYTES):
            yield piece
            piece = []
        piece.append(tensor)
    if piece:
        yield piece


def _summed(flat: Tensor) -> Tensor:
    """The sum [n or more]: halves are exchanged until each rank has summed its part, then back.

    Twice the bytes cross each rank's wire, however many ranks there are.
    """
    whole = functional.pad(flat, (0, -len(flat) % ranks.size()))
    start, length, distance = 0, len(whole), 1
    while distance < ranks.size():
        length //= 2
        keep, give = start, start + length
        if ranks.rank() & distance:
            keep, give = give, keep
        received = _exchanged(whole[give : give + length], ranks.rank() ^ distance)
        whole[keep : keep + length] += received
        start, distance = keep, 2 * distance
    while distance > 1:
        distance //= 2
        other = start - length if ranks.rank() & distance else start + length
        whole[other : other + length] = _exchanged(
            whole[start : start + length], ranks.rank() ^ distance
        )
        start, length = min(start, other), 2 * length
    return whole


def _exchanged(own: Tensor, other: int) -> Tensor:
    """What another rank has in place of ``own``."""
    received = torch.empty_like(own)
    both = [dist.P2POp(dist.isend, own, other), dist.P2POp(dist.irecv, received, other)]
    for work in dist.batch_isend_irecv(both):
        work.wait()
    return received
