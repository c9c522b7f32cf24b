"""Which rows repeat an earlier one, white space and case aside."""

import json
from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.quality.clusters import repeated
from tunesmith.data.quality.finding import Finding
from tunesmith.data.quality.text import Seen, digest, fold


class Duplicates:
    """Rows with the same messages and tools, of which the same messages are trained."""

    def __init__(self) -> None:
        self._keys = array("Q")

    def observe(self, row: Seen) -> None:
        """Keep 64 bits of the row."""
        messages, tools = row.conversation.messages, row.conversation.tools
        turns = "".join(f"{m.role} {m.weight} {m.name or ''} " for m in messages)
        first = row.conversation.completion_from
        said = (fold(row.system or ""), row.folded_question, row.folded_answer)
        more = [m.thinking for m in messages if m.thinking]
        more += [json.dumps(tools, sort_keys=True)] if tools else []
        self._keys.append(digest(f"{turns}{first}", *said, *more))

    def findings(self, out: NDArray[np.bool_] | None = None) -> Iterator[Finding]:
        """The rows that are there already, those aside that are ``out``."""
        again = repeated(np.array(self._keys, dtype=np.uint64), out)
        if len(again):
            yield Finding("duplicates", "the same row stands further up", again)
