"""Would a run take this data: every fault and remark of its files, and what it measures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tunesmith.config.run import DataSettings, RunConfig
from tunesmith.data.chat_format import study
from tunesmith.data.faults import Fault, FaultyData, Note
from tunesmith.data.prepare import prepare
from tunesmith.data.read import Reading, scan
from tunesmith.data.rows import Conversation
from tunesmith.data.split import hold_out
from tunesmith.data.template import render_each
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.errors import DataError
from tunesmith.models.cache import Emit, ignore
from tunesmith.workflows.rows import rendering_of
from tunesmith.workflows.tokenizing import open_tokenizer


@dataclass(frozen=True, slots=True)
class Inspection:
    """One file: its format, sizes, what a run would refuse, and what it would only mention.

    Tokens are counted over the rows that could be rendered.
    """

    file: str
    format: str | None
    rows: int
    tokens: int
    supervised_tokens: int
    longest: int
    faults: tuple[Fault, ...]
    warnings: tuple[Note, ...]


def inspect_data(config: RunConfig, *, emit: Emit = ignore) -> list[Inspection]:
    """The training file, then the held-out file where one is named."""
    settings = config.data
    (source,) = settings.sources
    opened = open_tokenizer(config.model, trust_remote_code=config.trust_remote_code, emit=emit)
    limit = min(opened.context, settings.max_tokens or opened.context)
    files = [source.path, *([settings.eval] if isinstance(settings.eval, str) else [])]
    readings = [scan(file, format=settings.format, columns=settings.map) for file in files]
    found = [_inspection(opened.tokenizer, reading, settings, limit=limit) for reading in readings]
    unsplit = _split_faults(readings[0], settings, seed=config.train.seed)
    first = found[0]
    return [_with_faults(first, unsplit), *found[1:]] if unsplit else found


def _inspection(
    tokenizer: Tokenizer, reading: Reading, settings: DataSettings, *, limit: int
) -> Inspection:
    faults, notes = list(reading.faults), list(reading.notes)
    lengths: list[int] = []
    supervised = 0
    if reading.conversations:
        try:
            rows = prepare(
                tokenizer,
                reading.conversations,
                max_tokens=limit,
                too_long=settings.too_long,
                rendering=rendering_of(settings),
            )
            notes += rows.notes
            lengths, supervised = rows.lengths.tolist(), rows.supervised_tokens
        except FaultyData as error:
            faults += error.faults
            lengths, supervised = _sizes(tokenizer, reading.conversations, settings)
        except DataError as error:
            if error.code != "no_rows":
                raise  # it is about the model, not about these rows
            faults.append(Fault(reading.file, None, error.code, error.message, error.remedy))
    return Inspection(
        file=reading.file,
        format=reading.format,
        rows=reading.rows,
        tokens=sum(lengths),
        supervised_tokens=supervised,
        longest=max(lengths, default=0),
        faults=tuple(sorted(faults, key=lambda fault: fault.line or 0)),
        warnings=tuple(notes),
    )


def _sizes(
    tokenizer: Tokenizer, rows: Sequence[Conversation], settings: DataSettings
) -> tuple[list[int], int]:
    """Lengths and supervised tokens of the rows that can be rendered, whatever is the matter."""
    rendered = render_each(tokenizer, rows, study(tokenizer), rendering_of(settings))
    found = (each.row for each in rendered)
    sizes = [(len(row.ids), np.count_nonzero(row.weights)) for row in found if row is not None]
    return [tokens for tokens, _ in sizes], int(sum(count for _, count in sizes))


def _split_faults(reading: Reading, settings: DataSettings, *, seed: int) -> tuple[Fault, ...]:
    """Why rows cannot be held out, where a share of them is asked for."""
    if not isinstance(settings.eval, float) or not settings.eval or not reading.conversations:
        return ()
    try:
        hold_out(reading.conversations, share=settings.eval, seed=seed)
    except DataError as error:
        return (Fault(reading.file, None, error.code, error.message, error.remedy),)
    return ()


def _with_faults(inspection: Inspection, faults: tuple[Fault, ...]) -> Inspection:
    return replace(inspection, faults=(*faults, *inspection.faults))
