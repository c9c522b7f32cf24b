"""Conversations that are kept in files, and read from there when they are asked for."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tunesmith.data.rows import Conversation
from tunesmith.data.stored import restored


class Conversations:
    """The conversations of a source in their order; ``counts`` is how many each batch holds."""

    def __init__(
        self, reader: pa.ipc.RecordBatchFileReader, counts: Sequence[int], source: str
    ) -> None:
        self._reader, self._source = reader, source
        self._stops = list(accumulate(counts))
        self._open: tuple[int, pa.Array] | None = None

    def __len__(self) -> int:
        return self._stops[-1] if self._stops else 0

    def __getitem__(self, i: int) -> Conversation:
        """Conversation ``i``, of 0 to the length; neighbours come from memory."""
        batch = bisect_right(self._stops, i)
        if self._open is None or self._open[0] != batch:
            self._open = batch, self._reader.get_batch(batch).column(0)
        first = self._stops[batch - 1] if batch else 0
        return restored(self._open[1][i - first].as_py(), source=self._source)

    def __iter__(self) -> Iterator[Conversation]:
        return (self[i] for i in range(len(self)))


class Chosen(Sequence[Conversation]):
    """Some of the conversations of several sources, numbered through all of them."""

    def __init__(self, sources: Sequence[Conversations], numbers: NDArray[np.int64]) -> None:
        self._sources, self._numbers = sources, numbers
        self._stops = list(accumulate(map(len, sources)))

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, i: int) -> Conversation: ...
    @overload
    def __getitem__(self, i: slice) -> "Chosen": ...
    def __getitem__(self, i: int | slice) -> "Conversation | Chosen":
        if isinstance(i, slice):
            return Chosen(self._sources, self._numbers[i])
        number = int(self._numbers[i])
        source = bisect_right(self._stops, number)
        return self._sources[source][number - (self._stops[source - 1] if source else 0)]
