"""Whether a few rows are far longer than all others."""

from array import array
from collections.abc import Iterator

import numpy as np

from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.text import Seen

# The longest document sets the memory of a run and the least size of its micro-batches.
TIMES, PERCENTILE = 4.0, 95.0
FEWEST_ROWS = 20


class LongTail:
    """Lengths of the rows, in characters of their messages."""

    def __init__(self) -> None:
        self._lengths = array("L")

    def observe(self, row: Seen) -> None:
        """Keep the row's length."""
        self._lengths.append(sum(len(m.content) for m in row.conversation.messages))

    def findings(self) -> Iterator[Finding]:
        """Rows of more than TIMES the length under which nearly all rows are."""
        lengths = np.array(self._lengths, dtype=np.int64)
        if len(lengths) < FEWEST_ROWS:
            return
        usual = np.percentile(lengths, PERCENTILE)
        long = np.flatnonzero(lengths > TIMES * usual)
        if len(long):
            what = (
                f"far longer than the others: {PERCENTILE:.0f} % of the rows have up to "
                f"{usual:,.0f} characters, the longest {lengths.max():,}; the longest row sets "
                "the memory that a run needs"
            )
            yield Finding("long_tail", what, long)
