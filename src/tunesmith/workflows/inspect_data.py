"""Would a run take this data: every fault and remark of its files, and what it measures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PretrainedConfig

from tunesmith.config.run import DEFAULT_EPOCHS, DataSettings, RunConfig
from tunesmith.data.chat_format import study
from tunesmith.data.faults import Fault, FaultyData, Note
from tunesmith.data.prepare import prepare
from tunesmith.data.read import Reading, scan
from tunesmith.data.rows import Conversation
from tunesmith.data.show import segments
from tunesmith.data.split import split_rows
from tunesmith.data.statistics import Lengths, length_statistics
from tunesmith.data.template import TokenRow, render_each
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.errors import DataError
from tunesmith.models.cache import Emit, ignore
from tunesmith.workflows.estimate import Estimate, estimate
from tunesmith.workflows.row_quality import judge_rows, told_of_few
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
    lengths: Lengths | None = None
    estimate: Estimate | None = None

    @property
    def supervised_share(self) -> float:
        """Of the tokens."""
        return self.supervised_tokens / self.tokens if self.tokens else 0.0


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
    readings = [scan(file, format=settings.format, columns=settings.map) for file in files]
    held = [row for reading in readings[1:] for row in reading.conversations]
    first, unfit = _judged(readings[0], held, config)
    found = [
        _inspection(opened.tokenizer, reading, settings, limit=limit)
        for reading in (first, *readings[1:])
    ]
    train = _with_faults(found[0], unfit) if unfit else found[0]
    return [replace(train, estimate=_estimate(config, opened.config, train)), *found[1:]]


def _estimate(
    config: RunConfig, shape: PretrainedConfig, inspection: Inspection
) -> Estimate | None:
    """The time of the epochs over what is not held out; None where a run would not begin."""
    if inspection.faults or config.train.steps or config.train.minutes:
        return None
    share = config.data.eval if isinstance(config.data.eval, float) else 0.0
    epochs = config.train.epochs or DEFAULT_EPOCHS
    tokens = round((1 - share) * inspection.tokens * epochs)
    return estimate(config, shape, tokens=tokens, supervised=inspection.supervised_share)


def _judged(
    reading: Reading, held: Sequence[Conversation], config: RunConfig
) -> tuple[Reading, tuple[Fault, ...]]:
    """The rows that are trained on with what is noticed of them, and why they cannot be used."""
    try:
        judged = judge_rows(reading.conversations, held, config.data)
    except DataError as error:
        return reading, (Fault(reading.file, None, error.code, error.message, error.remedy),)
    faults: tuple[Fault, ...] = ()
    trained, notes = len(judged.rows), judged.notes
    if isinstance(config.data.eval, float) and config.data.eval and judged.rows:
        try:
            split = split_rows(judged.rows, share=config.data.eval, seed=config.train.seed)
            trained, notes = len(split.train), (*notes, *split.notes)
        except DataError as error:
            faults = (Fault(reading.file, None, error.code, error.message, error.remedy),)
    notes = (*reading.notes, *notes, *told_of_few(trained, config.method.kind))
    return replace(reading, conversations=tuple(judged.rows), notes=notes), faults


def _inspection(
    tokenizer: Tokenizer, reading: Reading, settings: DataSettings, *, limit: int
) -> Inspection:
    faults, notes = list(reading.faults), list(reading.notes)
    lengths: list[int] = []
    supervised = 0
    if reading.conversations:
        try:
            rows = prepare(
                tokenizer, reading.conversations, max_tokens=limit, too_long=settings.long_rows
            )
            notes += rows.notes
            lengths, supervised = rows.lengths.tolist(), rows.supervised_tokens
        except FaultyData as error:
            faults += error.faults
            lengths, supervised = _sizes(tokenizer, reading.conversations)
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
        lengths=length_statistics(np.array(lengths, dtype=np.int64)),
    )


def _sizes(tokenizer: Tokenizer, rows: Sequence[Conversation]) -> tuple[list[int], int]:
    """Lengths and supervised tokens of the rows that can be rendered, whatever is the matter."""
    rendered = (each.row for each in render_each(tokenizer, rows, study(tokenizer)))
    sizes = [(len(row.ids), np.count_nonzero(row.weights)) for row in rendered if row is not None]
    return [tokens for tokens, _ in sizes], int(sum(count for _, count in sizes))


def _with_faults(inspection: Inspection, faults: tuple[Fault, ...]) -> Inspection:
    return replace(inspection, faults=(*faults, *inspection.faults))


def shown_rows(
    config: RunConfig, *, most: int, emit: Emit = ignore
) -> tuple[list[ShownRow], tuple[Fault, ...]]:
    """The first rows that can be rendered, and the faults of the others up to there."""
    (source,) = config.data.sources
    reading = scan(source.path, format=config.data.format, columns=config.data.map)
    if not reading.conversations:
        return [], reading.faults
    opened = open_tokenizer(config.model, trust_remote_code=config.trust_remote_code, emit=emit)
    tokenizer: Tokenizer = opened.tokenizer
    faults = list(reading.faults)
    rows: list[ShownRow] = []
    rendered = render_each(tokenizer, reading.conversations, study(tokenizer))
    for each in rendered:
        faults += each.faults
        if each.row is not None:
            rows.append(_shown(tokenizer, each.row))
        if len(rows) == most:
            break
    return rows, tuple(faults)


def _shown(tokenizer: Tokenizer, row: TokenRow) -> ShownRow:
    return ShownRow(row.file, row.line, len(row.ids), tuple(segments(tokenizer, row)))
