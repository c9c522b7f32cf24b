"""Products of rows that are grouped, each group with a matrix of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ALIGNMENT = 16  # bytes between rows that the grouped kernel for GPUs requires


@dataclass(frozen=True)
class RowGroups:
    """S sorted rows in E groups, some of which may be empty."""

    ends: Tensor  # [E] int32: where each group ends

    @classmethod
    def of(cls, numbers: Tensor, count: int) -> "RowGroups":
        """The groups of rows with these sorted group numbers [S], of 0 .. ``count`` - 1."""
        every = torch.arange(count, device=numbers.device)
        return cls(torch.searchsorted(numbers, every, right=True).int())

    @cached_property
    def spans(self) -> Sequence[tuple[int, int, int]]:
        """Number, first and last row of every group that is not empty."""
        ends = self.ends.tolist()
        spans = zip(range(len(ends)), [0, *ends], ends, strict=False)
        return [(number, start, stop) for number, start, stop in spans if start < stop]


def product(x: Tensor, matrices: Tensor, groups: RowGroups) -> Tensor:
    """x M^T of every row x with its group's M: [S, D_in], [E, D_out, D_in] -> [S, D_out]."""
    if _has_kernel(x, matrices):
        return torch.nn.functional.grouped_mm(x, matrices.transpose(1, 2), offs=groups.ends)
    y = x.new_empty(len(x), matrices.shape[1])
    for number, start, stop in groups.spans:
        torch.mm(x[start:stop], matrices[number].t(), out=y[start:stop])
    return y


def outer(g: Tensor, x: Tensor, groups: RowGroups) -> Tensor:
    """g^T x of every group's rows: [S, D_out], [S, D_in] -> [E, D_out, D_in]."""
    if _has_kernel(g, x):
        return torch.nn.functional.grouped_mm(g.t(), x, offs=groups.ends)
    result = g.new_zeros(len(groups.ends), g.shape[1], x.shape[1])
    for number, start, stop in groups.spans:
        torch.mm(g[start:stop].t(), x[start:stop], out=result[number])
    return result


def _has_kernel(*tensors: Tensor) -> bool:
    """Whether torch's grouped_mm takes these: on a processor it is a loop itself."""
    return all(
        t.is_cuda
        and t.dtype == torch.bfloat16
        and sorted(t.stride())[0] == 1
        and all(s * t.itemsize % ALIGNMENT == 0 for s in t.stride() if s != 1)
        for t in tensors
    )
