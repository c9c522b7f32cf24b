"""What is said of a run's rows before its first step, and of an evaluation's."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import RunConfig
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Progress
from tunesmith.data.chat_format import inserted_system_prompt
from tunesmith.data.dataset import RunRows
from tunesmith.data.faults import Note
from tunesmith.data.quality.copies import LEAKAGE
from tunesmith.data.quality.persona import persona_notes
from tunesmith.methods.virtual_tokens import narrow_layers
from tunesmith.runs.enough import few_notes
from tunesmith.runs.language_fit import language_notes

FEW_LEAKED = 0.05  # of the held-out rows: that training rows ask so many is noted alone


def with_caveats(
    config: RunConfig, loaded: LoadedBase, rows: RunRows, adapter: str | None
) -> RunRows:
    """The rows with what lowers the worth of their scores: the base hardly reads their language, or
    training rows ask the same as more than a few of those that are held out.
    """
    unread = language_notes(
        rows.sample or rows.held_conversations,
        config.model,
        loaded.tokenizer(adapter),
        device=config.device,
        loaded=loaded,
    )
    few = FEW_LEAKED * len(rows.held_conversations)
    leaked = [note for note in rows.train.notes if note.code == LEAKAGE and note.held > few]
    return replace(rows, caveats=(*unread, *leaked))


def report_rows(
    config: RunConfig, loaded: LoadedBase, rows: RunRows, adapter: str, progress: Progress
) -> None:
    """Report how many rows there are, and what was noticed of them."""
    held = len(rows.held) if rows.held else 0
    progress.notice(
        "data",
        f"{pluralize(len(rows.train), 'row')} of {pluralize(rows.train.tokens, 'token')} to "
        f"train on ({rows.train.supervised_tokens:,} supervised), {held:,} held out",
    )
    few = few_notes(config, rows.train.lengths, held, copies=rows.copies)
    own = (*few, *_persona(loaded, rows, adapter), *rows.train.notes)
    for note in dict.fromkeys((*rows.caveats, *own)):
        progress.notice(note.code, note.text())
    lengths = np.concatenate([part.lengths for part in (rows.train, rows.held) if part])
    for narrow in narrow_layers(loaded.engine, adapter):
        if count := int((lengths > narrow.length).sum()):
            longer = f"{count:,} of {pluralize(len(lengths), 'row')} are that long"
            progress.notice("window", f"{narrow}; {longer}")


def _persona(loaded: LoadedBase, rows: RunRows, adapter: str) -> Iterator[Note]:
    """Reports where the system prompt that rows are read under disagrees with their answers."""
    tokenizer = loaded.tokenizer(adapter)
    if tokenizer.chat_template:
        yield from persona_notes(rows.sample, inserted_system_prompt(tokenizer))
