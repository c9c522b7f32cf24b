"""From a run's data settings to rows to train on and rows held out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tunesmith.config import DataSettings
from tunesmith.data.dataset import Dataset
from tunesmith.data.faults import FaultBook, refuse
from tunesmith.data.read import read_rows
from tunesmith.data.records import exists
from tunesmith.data.rows import Conversation
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.workflows.course import QUIET, Course
from tunesmith.workflows.gather import Gathered, asked_of, gather, rendering_of

__all__ = ["RunRows", "asked_of", "load_rows", "rendering_of", "require_files"]

ONCE: NDArray[np.float64] = np.zeros(0)


@dataclass(frozen=True, slots=True, eq=False)
class RunRows:
    """What a run reads: rows, the held-out ones, and the conversations that those were made of.

    ``copies`` float64 [N] is how often each training row counts in an epoch; empty: once.
    """

    train: Dataset
    held: Dataset | None
    held_conversations: Sequence[Conversation]
    copies: NDArray[np.float64]


def require_files(settings: DataSettings) -> None:
    """Raise DataError where files of the data are missing, before anything is written or loaded."""
    named = [source.path for source in settings.sources]
    named += [settings.eval] if isinstance(settings.eval, str) else []
    book = FaultBook()
    for path in named:
        if not exists(path):
            _, _, rows = read_rows(asked_of(settings, path))  # has the words for it
            for found in rows:
                book.add(found.faults)
    refuse(book.faults())


def load_rows(
    settings: DataSettings,
    tokenizer: Tokenizer,
    *,
    context: int,
    seed: int,
    course: Course = QUIET,
) -> RunRows:
    """A run's rows on both sides; raises FaultyData with every fault of every file."""
    gathered = gather(settings, tokenizer, context=context, seed=seed, course=course)
    refuse(gathered.faults)
    train, held = gathered.train, gathered.held
    rows = replace(train.rows, notes=(*train.notes, *gathered.overview.notes))
    if held is not None:
        asked = held.conversations(np.unique(held.rows.owners))
        return RunRows(rows, held.rows, asked, _copies(rows, gathered, settings))
    numbers = np.array(gathered.overview.held, dtype=np.int64)
    if not len(numbers):
        return RunRows(rows, None, (), _copies(rows, gathered, settings))
    is_held = np.isin(rows.owners, numbers)
    kept = rows.take(~is_held)
    asked = train.conversations(numbers)
    return RunRows(kept, rows.take(is_held), asked, _copies(kept, gathered, settings))


def _copies(rows: Dataset, gathered: Gathered, settings: DataSettings) -> NDArray[np.float64]:
    """The weight of each row's source; empty where all weigh 1."""
    weights = np.array([source.weight for source in settings.sources])
    if (weights == 1.0).all():
        return ONCE
    ends = np.cumsum(gathered.train.counts)
    return weights[np.searchsorted(ends, rows.owners, side="right")]
