"""From a run's data settings to rows to train on and rows held out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tunesmith.config import DataSettings
from tunesmith.data.dataset import Dataset, RunRows
from tunesmith.data.faults import FaultBook, refuse
from tunesmith.data.part import part_of
from tunesmith.data.read import read_rows
from tunesmith.data.records import exists
from tunesmith.data.rows import Conversation
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.workflows.course import QUIET, Course
from tunesmith.workflows.gather import Gathered, Side, asked_of, gather, rendering_of

__all__ = ["RunRows", "asked_of", "load_rows", "rendering_of", "require_files"]

ONCE: NDArray[np.float64] = np.zeros(0)

MOST_SAMPLED = 2000


def require_files(settings: DataSettings) -> None:
    """Raise DataError where files of the data are missing, before anything is written or loaded."""
    book = FaultBook()
    for source in (*settings.sources, *([settings.held] if settings.held else [])):
        if not exists(source.path):
            _, _, rows = read_rows(asked_of(settings, source))  # has the words for it
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
    held_rows: Dataset | None = None
    asked: Sequence[Conversation] = ()
    numbers = np.array(gathered.overview.held, dtype=np.int64)
    if held is not None:
        held_rows, asked = held.rows, held.conversations(np.unique(held.rows.owners))
    elif len(numbers):
        is_held = np.isin(rows.owners, numbers)
        held_rows, asked = rows.take(is_held), train.conversations(numbers)
        rows = rows.take(~is_held)
    if settings.share < 1:
        part = part_of(np.unique(rows.owners).tolist(), share=settings.share, seed=seed)
        rows = rows.take(np.isin(rows.owners, part))
    copies = _copies(rows, gathered, settings)
    return RunRows(rows, held_rows, asked, copies, _sample(train, rows))


def _sample(train: Side, rows: Dataset) -> tuple[Conversation, ...]:
    """At most ``MOST_SAMPLED`` rows that are trained on, evenly spread over the files."""
    owners = np.unique(rows.owners)
    count = min(len(owners), MOST_SAMPLED)
    return tuple(train.conversations(owners[np.arange(count) * len(owners) // max(1, count)]))


def _copies(rows: Dataset, gathered: Gathered, settings: DataSettings) -> NDArray[np.float64]:
    """The weight of each row's source; empty where all weigh 1."""
    weights = np.array([source.weight for source in settings.sources])
    if (weights == 1.0).all():
        return ONCE
    ends = np.cumsum(gathered.train.counts)
    return weights[np.searchsorted(ends, rows.owners, side="right")]
