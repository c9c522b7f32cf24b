"""How long the rows of a data set are: quantiles, and how many are of which length."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (5, 25, 50, 75, 95, 99)
BARS = 8
_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of rows: ``quantiles`` by percentile; bar i counts rows of ``edges[i]`` tokens up to,
    and without, ``edges[i + 1]``.

    The last bar holds the tail, however long it is.
    """

    quantiles: dict[int, int]
    edges: tuple[int, ...]
    counts: tuple[int, ...]

    def to_json(self) -> dict[str, object]:
        """Quantiles by name, and the histogram."""
        return {
            "quantiles": {f"p{name}": value for name, value in self.quantiles.items()},
            "histogram": {"edges": list(self.edges), "rows": list(self.counts)},
        }


def length_statistics(lengths: NDArray[np.int64]) -> Lengths | None:
    """The lengths of N rows, int64 [N]; None without any row."""
    if not len(lengths):
        return None
    found = np.percentile(lengths, PERCENTILES, method="inverted_cdf")
    quantiles = {name: int(value) for name, value in zip(PERCENTILES, found, strict=True)}
    low, most = int(lengths.min()), int(lengths.max())
    width = _round(max(1.0, (quantiles[95] - low + 1) / (BARS - 1)))
    first = low - low % width
    edges = [first + i * width for i in range(BARS) if first + i * width <= most]
    ends = [*edges[1:], max(most + 1, edges[-1] + width)]
    counts = np.histogram(lengths, bins=[first, *ends])[0]
    return Lengths(quantiles, (first, *ends), tuple(counts.tolist()))


def _round(width: float) -> int:
    """The next width that people count in: 1, 2, 5, 10, 20, ..."""
    size = 1
    while True:
        for step in _STEPS[:-1]:
            if step * size >= width:
                return step * size
        size *= 10
