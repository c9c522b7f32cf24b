"""What the loop works on: a base with an adapter, rows, settings and the plan."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tunesmith.config.run import TrainSettings
from tunesmith.engine.batch import Dropout, PackedBatch
from tunesmith.engine.forward import Engine
from tunesmith.engine.pack import Row, pack
from tunesmith.methods.adapter import Adapter
from tunesmith.train.batches import Copies, Plan, StepRows, endless_steps

# A common beginning shorter than this is not worth a document of its own.
SHARE_TOKENS = 8


class TokenRow(Protocol):
    """One rendered row: ids int32 [n], loss weights float32 [n], and where it came from."""

    @property
    def ids(self) -> NDArray[np.int32]: ...
    @property
    def weights(self) -> NDArray[np.float32]: ...
    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...


class Rows(Protocol):
    """Rendered rows by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> TokenRow: ...
    @property
    def lengths(self) -> NDArray[np.int64]: ...


def _not_kept(_: Plan) -> None:
    """For a job in no run folder."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training run; ``keep_plan`` hears of a plan that had to change."""

    engine: Engine
    adapter: Adapter
    rows: Rows
    held: Rows | None
    settings: TrainSettings
    folder: Path
    copies: Copies = ()
    keep_plan: Callable[[Plan], None] = _not_kept
    fixed_steps: tuple[StepRows, ...] = ()  # the rows of each step, where they are not drawn

    def steps(self, first: int) -> Iterator[StepRows]:
        """The rows of step ``first`` and of every later one."""
        if self.fixed_steps:
            return iter(self.fixed_steps[first:])
        return endless_steps(self.rows.lengths, self.settings, copies=self.copies, first=first)

    @property
    def name(self) -> str | None:
        """What its documents are marked with: the adapter, None where the base is trained."""
        return self.adapter.name if self.adapter.frozen_base else None

    def packable(self, rows: Iterable[tuple[int, TokenRow]]) -> list[Row]:
        """Numbered rows as documents of the adapter."""
        return [
            Row(row.ids.tolist(), row.weights.tolist(), adapter=self.name, key=i) for i, row in rows
        ]

    def batch(
        self, rows: Iterable[tuple[int, TokenRow]], *, step: int | None = None
    ) -> PackedBatch:
        """Numbered rows as a packed batch; with a ``step`` it is for training (dropout)."""
        dropout = {} if step is None else self.dropout(step)
        return stream_of(self.engine, self.packable(rows), dropout)

    def dropout(self, step: int) -> dict[str | None, Dropout]:
        """What keys the adapter's masks in a step; nothing where it drops nothing."""
        drops = getattr(self.adapter.settings, "dropout", 0.0) > 0
        return {self.name: Dropout(self.settings.seed, step)} if drops else {}


def stream_of(
    engine: Engine, rows: Sequence[Row], dropout: Mapping[str | None, Dropout]
) -> PackedBatch:
    """Rows, of any adapters, as one packed batch where the base lies."""
    batch = pack(rows, share=SHARE_TOKENS, dropout=dropout, prefixes=engine.prefixes)
    return batch.to(engine.device)
