"""What is found in one side of a run's data; for files of no known format from reading alone."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tunesmith.config.run import DataSettings, DataSource
from tunesmith.data.faults import Faults, Note, RowReport
from tunesmith.data.read import open_records, parse_record
from tunesmith.runs.inputs import source_request

if TYPE_CHECKING:
    from tunesmith.estimate.duration import Estimate

PERCENTILES = (5, 25, 50, 75, 95, 99)
BARS = 8


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
        """Quantiles keyed by percentile, and the histogram."""
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
    low, limit = int(lengths.min()), int(lengths.max())
    width = _round(max(1.0, (quantiles[95] - low + 1) / (BARS - 1)))
    first = low - low % width
    edges = [first + i * width for i in range(BARS) if first + i * width <= limit]
    ends = [*edges[1:], max(limit + 1, edges[-1] + width)]
    counts = np.histogram(lengths, bins=[first, *ends])[0]
    return Lengths(quantiles, (first, *ends), tuple(counts.tolist()))


def _round(width: float) -> int:
    """The next width that people count in: 1, 2, 5, 10, 20, ..."""
    sizes: Iterator[int] = (step * 10**power for power in itertools.count() for step in (1, 2, 5))
    return next(size for size in sizes if size >= width)


@dataclass(frozen=True, slots=True)
class Inspection:
    """One side of a run: its format, sizes, what would be refused, and what would be reported.

    ``reason`` is what was seen of the format. ``rows`` are sound and faulty ones without those
    ``left_out`` (dropped, or too long). Tokens are counted over the rows that could be
    rendered.
    """

    file: str
    format: str | None
    reason: str
    rows: int
    tokens: int
    supervised_tokens: int
    longest: int
    faults: Faults
    warnings: tuple[Note, ...]
    left_out: int = 0
    lengths: Lengths | None = None
    estimate: "Estimate | None" = None

    @property
    def supervised_share(self) -> float:
        """Of the tokens."""
        return self.supervised_tokens / self.tokens if self.tokens else 0.0


def inspect_unknown(settings: DataSettings) -> list[Inspection] | None:
    """What ``inspect_data`` would find, without a base, where nothing could be tokenized: no source
    has a known format. Else None.
    """
    sides = [settings.sources, *([[settings.held]] if settings.held else [])]
    sources = list(itertools.chain(*sides))
    if any(open_records(source_request(settings, each))[0].format for each in sources):
        return None
    return [_unknown(settings, side) for side in sides]


def _unknown(settings: DataSettings, sources: Iterable[DataSource]) -> Inspection:
    """The sources of one side, of no known format: how many rows, and what is wrong with them."""
    report, rows, reasons = RowReport(), 0, []
    for source in sources:
        layout, faults, records = open_records(source_request(settings, source))
        report.add_faults(faults)
        reasons.append(layout.reason)
        for record in records:
            rows += record.is_row
            report.add(parse_record(record, layout))
    return Inspection(
        file=", ".join(source.path for source in sources),
        format=None,
        reason=joined(reasons) or "",
        rows=rows,
        tokens=0,
        supervised_tokens=0,
        longest=0,
        faults=report.faults,
        warnings=report.notes,
    )


def joined(words: Iterable[str | None]) -> str | None:
    """Each word once; None where one is not known."""
    each = dict.fromkeys(words)
    return None if None in each else "; ".join(filter(None, each))
