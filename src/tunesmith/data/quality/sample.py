"""Which rows stand for all, where looking at every one would take too long."""

import heapq
from dataclasses import dataclass

from tunesmith.counts import many
from tunesmith.data.quality.text import Seen, mixed

ROWS = 5000
MOST_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, order=True)
class Sampled:
    """A row of the sample: its number, question and answer, cut after MOST_CHARACTERS."""

    row: int
    question: str
    answer: str


class Sample:
    """All rows up to ROWS, and of more of them those with the least hash, in whatever order."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[tuple[int, int, str, str]] = []

    def observe(self, row: Seen) -> None:
        """Keep the row if it is one of the sample."""
        entry = (
            -mixed(row.question_key, row.answer_key),
            self.count,
            row.question[:MOST_CHARACTERS],
            row.answer[:MOST_CHARACTERS],
        )
        self.count += 1
        if len(self._kept) < ROWS:
            heapq.heappush(self._kept, entry)
        elif entry[0] > self._kept[0][0]:
            heapq.heapreplace(self._kept, entry)

    def rows(self) -> list[Sampled]:
        """The sample, in the order of the rows."""
        return sorted(Sampled(row, question, answer) for _, row, question, answer in self._kept)

    def told(self) -> str:
        """What to add to a finding that holds for the sample only."""
        return f" (of {many(ROWS, 'row')} looked at)" if self.count > ROWS else ""
