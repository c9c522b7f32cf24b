"""A series of numbers as a line of blocks: `█▆▃▂▁▁`."""

import math
from collections.abc import Sequence
from itertools import pairwise

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], *, width: int = 50) -> str:
    """At most ``width`` blocks, each the mean of its share of ``values``; NaN and the like are `×`.

    The lowest value is the lowest block, the highest the highest.
    """
    count = min(width, len(values))
    cuts = [round(i * len(values) / count) for i in range(count + 1)] if count else [0]
    means = [
        math.fsum(part) / len(part)
        for start, stop in pairwise(cuts)
        if (part := values[start:stop])
    ]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_block(mean, low, high) for mean in means)


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "×"
    share = (value - low) / (high - low) if high > low else 0.0
    return _BLOCKS[round(share * (len(_BLOCKS) - 1))]
