"""Whether rows are asked under different system prompts, in training or when the model is asked."""

from array import array
from collections import Counter
from collections.abc import Iterator

import numpy as np

from tunesmith.counts import many
from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.text import Seen, digest, fold

MOST_PROMPTS = 1000
# Where each prompt stands in so few rows it carries what the row is about, and has to differ.
ROWS_PER_PROMPT = 3
NONE = 0


class SystemPrompts:
    """Which system prompt each row has, and which of them held-out rows have."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._rows = array("l")
        self._held: set[int] = set()

    def hold(self, row: Seen) -> None:
        """A held-out row, which is asked as the model will be."""
        if len(self._held) <= MOST_PROMPTS:
            self._held.add(_key(row))

    def observe(self, row: Seen) -> None:
        """Keep which prompt it is."""
        key = _key(row)
        if key in self._numbers or len(self._numbers) <= MOST_PROMPTS:
            self._rows.append(self._numbers.setdefault(key, len(self._numbers)))
        else:
            self._rows.append(MOST_PROMPTS + 1)

    def findings(self) -> Iterator[Finding]:
        """Rows that differ from the most common prompt, and held-out rows that know others."""
        counts = Counter(self._rows)
        if not counts or len(counts) * ROWS_PER_PROMPT > len(self._rows):
            return
        common, _ = counts.most_common(1)[0]
        if len(counts) > 1:
            without = counts.get(self._numbers.get(NONE, -1), 0)
            others = len(counts) - bool(without)
            what = (
                f"another system prompt than the most common one ({many(others, 'prompt')} in "
                f"all, {many(without, 'row')} without any): ask the model with the right one"
            )
            rows = np.flatnonzero(np.array(self._rows) != common)
            yield Finding("system_prompt", what, rows)
        if self._held and (missing := self._held - self._numbers.keys()):
            asked = "without any" if missing == {NONE} else "under one that no training row has"
            what = f"another system prompt in evaluation than in training: rows are asked {asked}"
            yield Finding("system_prompt", what, count=len(self._rows))


def _key(row: Seen) -> int:
    return NONE if row.system is None else digest(fold(row.system))
