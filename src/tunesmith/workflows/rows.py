"""From a run's data settings to rows to train on and rows held out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tunesmith.config import DataSettings
from tunesmith.data.faults import FaultyData
from tunesmith.data.part import part_of
from tunesmith.data.prepare import Dataset, prepare
from tunesmith.data.read import read_conversations
from tunesmith.data.rows import Conversation
from tunesmith.data.split import hold_out
from tunesmith.data.tokenizer import Tokenizer

MOST_OWN_ANSWERS = 2000


@dataclass(frozen=True, slots=True)
class RunRows:
    """What a run reads: rows, how often each counts, and the held-out conversations."""

    train: Dataset
    held: Dataset | None
    held_conversations: tuple[Conversation, ...]
    copies: tuple[float, ...]  # of each training row in an epoch; empty: one
    own_answers: tuple[str, ...] = ()  # of training rows, evenly spread: what checks learn from


def require_files(settings: DataSettings) -> None:
    """Raise DataError where a file of the data is missing, before anything is written or loaded."""
    named = [source.path for source in settings.sources]
    named += [settings.eval] if isinstance(settings.eval, str) else []
    for path in named:
        if not Path(path).exists():
            read_conversations(path)  # has the words for it


def load_rows(settings: DataSettings, tokenizer: Tokenizer, *, context: int, seed: int) -> RunRows:
    """Read, split and render a run's data; raises DataError with every fault of every file."""
    conversations: list[Conversation] = []
    weights: list[float] = []
    faults: list[FaultyData] = []
    for source in settings.sources:
        try:
            read = read_conversations(source.path, format=settings.format, columns=settings.map)
        except FaultyData as error:
            faults.append(error)
            continue
        conversations += read
        weights += [source.weight] * len(read)
    if faults:
        raise FaultyData([fault for error in faults for fault in error.faults])
    train, held = list(conversations), []
    if isinstance(settings.eval, str):
        held = read_conversations(settings.eval, format=settings.format, columns=settings.map)
    elif settings.eval:
        train, held = hold_out(conversations, share=settings.eval, seed=seed)
    train = part_of(train, share=settings.share, seed=seed)
    limit = min(context, settings.max_tokens or context)
    rows = prepare(tokenizer, train, max_tokens=limit, too_long=settings.too_long)
    held_rows = (
        prepare(tokenizer, held, max_tokens=limit, too_long=settings.too_long) if held else None
    )
    weight_of = {(c.file, c.line): w for c, w in zip(conversations, weights, strict=True)}
    copies = tuple(weight_of[row.file, row.line] for row in (rows[i] for i in range(len(rows))))
    plain = all(weight == 1.0 for weight in copies)
    return RunRows(
        rows, held_rows, tuple(held), () if plain else copies, own_answers=_own_answers(train)
    )


def _own_answers(train: Sequence[Conversation]) -> tuple[str, ...]:
    """The last answers of at most ``MOST_OWN_ANSWERS`` rows, evenly spread over the file."""
    rows = [row for row in train if row.supervised]
    count = min(len(rows), MOST_OWN_ANSWERS)
    kept = (rows[i * len(rows) // count] for i in range(count))
    return tuple(row.messages[row.supervised[-1]].content for row in kept)
