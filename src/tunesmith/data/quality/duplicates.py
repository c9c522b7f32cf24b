"""Which rows repeat an earlier one, white space and case aside."""

from array import array
from collections.abc import Iterator

import numpy as np

from tunesmith.data.quality.clusters import equal_pairs
from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.text import Seen, digest, fold


class Duplicates:
    """Rows with the same messages, of which the same are trained."""

    def __init__(self) -> None:
        self._keys = array("Q")

    def observe(self, row: Seen) -> None:
        """Keep 64 bits of the row."""
        turns = "".join(f"{m.role} {m.weight} " for m in row.conversation.messages)
        first = row.conversation.completion_from
        said = (fold(row.system or ""), row.folded_question, row.folded_answer)
        self._keys.append(digest(f"{turns}{first}", *said))

    def findings(self) -> Iterator[Finding]:
        """The rows that are there already."""
        again = np.sort(equal_pairs(np.array(self._keys, dtype=np.uint64))[:, 1])
        if len(again):
            yield Finding("duplicates", "the same row stands further up", again)
