"""One fixed binary tree sums a step's streams: over any number of ranks it gives the same bytes.

A part of the streams is cut into halves until one stream is left; each rank has one of the parts
that are equally far from the top, and what is above is summed between ranks
(``core.rank_sum``). Of a part with n streams at most log2(n) sums are held at once.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from tunesmith.core import ranks
from tunesmith.engine.autograd import gradient_of

KEEP, MERGE = -1, -2


def own_part(count: int) -> range:
    """The streams of this rank, of ``count``; maybe none."""
    part, distance = range(count), ranks.size() // 2
    while distance:
        part = _halves(part)[bool(ranks.rank() & distance)]
        distance //= 2
    return part


def _halves(part: range) -> tuple[range, range]:
    middle = (len(part) + 1) // 2
    return part[:middle], part[middle:]


def order_of(part: range) -> Iterator[int]:
    """The streams of a part, KEEP where the sum so far is set aside, and MERGE where it is added.

    A single stream on the right is added to what is on its left without that: the sum is the same.
    """
    if len(part) <= 1:
        yield from part
        return
    left, right = _halves(part)
    yield from order_of(left)
    if len(right) > 1:
        yield KEEP
    yield from order_of(right)
    if len(right) > 1:
        yield MERGE


class PartialSums:
    """The gradients of some parameters, and the sums that were set aside."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._gradients = [gradient_of(parameter) for parameter in parameters]
        self._kept: list[list[Tensor]] = []

    def do(self, what: int) -> None:
        """KEEP or MERGE."""
        if not self._gradients:
            return
        if what == KEEP:
            self._kept.append([gradient.clone() for gradient in self._gradients])
            torch._foreach_zero_(self._gradients)
        else:
            torch._foreach_add_(self._gradients, self._kept.pop())
