"""Would a run take this data: every fault and remark of its files, and what it measures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tunesmith.config.run import DataSettings, RunConfig
from tunesmith.data.documents import render_documents
from tunesmith.data.faults import Fault, FaultyData, Note
from tunesmith.data.prepare import prepare
from tunesmith.data.read import Reading, scan
from tunesmith.data.records import options_of
from tunesmith.data.rows import Conversation
from tunesmith.data.show import segments
from tunesmith.data.split import hold_out
from tunesmith.data.template import TokenRow
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.errors import DataError
from tunesmith.models.cache import Emit, ignore
from tunesmith.workflows.tokenizing import open_tokenizer


@dataclass(frozen=True, slots=True)
class Inspection:
    """One file: its format, sizes, what a run would refuse, and what it would only mention.

    ``reason`` is what was seen of the format. Tokens are counted over the rows that could be
    rendered.
    """

    file: str
    format: str | None
    reason: str
    rows: int
    tokens: int
    supervised_tokens: int
    longest: int
    faults: tuple[Fault, ...]
    warnings: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row as the model sees it: ``spans`` are [start, stop, supervised] in characters."""

    file: str
    line: int
    tokens: int
    pieces: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        """The whole row, the chat template applied."""
        return "".join(piece for piece, _ in self.pieces)

    @property
    def spans(self) -> list[tuple[int, int, bool]]:
        """Where each piece of the text begins and ends, and whether it is trained."""
        ends = np.cumsum([len(piece) for piece, _ in self.pieces]).tolist()
        return [
            (end - len(piece), end, supervised)
            for end, (piece, supervised) in zip(ends, self.pieces, strict=True)
        ]


def inspect_data(config: RunConfig, *, emit: Emit = ignore) -> list[Inspection]:
    """The training file, then the held-out file where one is named."""
    settings = config.data
    (source,) = settings.sources
    opened = open_tokenizer(config.model, trust_remote_code=config.trust_remote_code, emit=emit)
    limit = min(opened.context, settings.max_tokens or opened.context)
    files = [source.path, *([settings.eval] if isinstance(settings.eval, str) else [])]
    readings = [
        scan(file, format=settings.format, columns=settings.map, options=options_of(settings))
        for file in files
    ]
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
                tokenizer, reading.conversations, max_tokens=limit, too_long=settings.too_long
            )
            notes += rows.notes
            lengths, supervised = rows.lengths.tolist(), rows.supervised_tokens
        except FaultyData as error:
            faults += error.faults
            lengths, supervised = _sizes(tokenizer, reading.conversations, limit=limit)
        except DataError as error:
            if error.code != "no_rows":
                raise  # it is about the model, not about these rows
            faults.append(Fault(reading.file, None, error.code, error.message, error.remedy))
    return Inspection(
        file=reading.file,
        format=reading.format,
        reason=reading.reason,
        rows=reading.rows,
        tokens=sum(lengths),
        supervised_tokens=supervised,
        longest=max(lengths, default=0),
        faults=tuple(sorted(faults, key=lambda fault: fault.line or 0)),
        warnings=tuple(notes),
    )


def _sizes(
    tokenizer: Tokenizer, rows: Sequence[Conversation], *, limit: int
) -> tuple[list[int], int]:
    """Lengths and supervised tokens of the rows that can be rendered, whatever is the matter."""
    rendered = (each.row for each in render_documents(tokenizer, rows, max_tokens=limit))
    sizes = [(len(row.ids), np.count_nonzero(row.weights)) for row in rendered if row is not None]
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


def shown_rows(
    config: RunConfig, *, most: int, emit: Emit = ignore
) -> tuple[list[ShownRow], tuple[Fault, ...]]:
    """The first rows that can be rendered, and the faults of the others up to there."""
    (source,) = config.data.sources
    settings, limit = config.data, config.data.max_tokens
    reading = scan(
        source.path, format=settings.format, columns=settings.map, options=options_of(settings)
    )
    if not reading.conversations:
        return [], reading.faults
    opened = open_tokenizer(config.model, trust_remote_code=config.trust_remote_code, emit=emit)
    tokenizer: Tokenizer = opened.tokenizer
    faults = list(reading.faults)
    rows: list[ShownRow] = []
    most_tokens = min(opened.context, limit or opened.context)
    rendered = render_documents(tokenizer, reading.conversations, max_tokens=most_tokens)
    for each in rendered:
        faults += each.faults
        if each.row is not None:
            rows.append(_shown(tokenizer, each.row))
        if len(rows) == most:
            break
    return rows, tuple(faults)


def _shown(tokenizer: Tokenizer, row: TokenRow) -> ShownRow:
    return ShownRow(row.file, row.line, len(row.ids), tuple(segments(tokenizer, row)))
