"""Would a run take this data: every fault and remark of its files, and what it measures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PretrainedConfig

from tunesmith.config.run import DEFAULT_EPOCHS, RunConfig
from tunesmith.data.faults import Faults, Note
from tunesmith.data.statistics import Lengths, length_statistics
from tunesmith.train.events import Event, Progress
from tunesmith.workflows.course import Course, silent
from tunesmith.workflows.estimate import Estimate, estimate
from tunesmith.workflows.gather import Side, gather
from tunesmith.workflows.row_quality import told_of_few
from tunesmith.workflows.tokenizing import open_tokenizer


@dataclass(frozen=True, slots=True)
class Inspection:
    """One side of a run: its format, sizes, what would be refused, and what would be only told.

    ``reason`` is what was seen of the format. ``rows`` are sound and faulty ones without those
    ``left_out`` by name or for their length. Tokens are counted over the rows that could be
    rendered.
    """

    file: str
    format: str | None
    reason: str
    rows: int
    tokens: int
    supervised_tokens: int
    longest: int
    faults: Faults
    warnings: tuple[Note, ...]
    left_out: int = 0
    lengths: Lengths | None = None
    estimate: Estimate | None = None

    @property
    def supervised_share(self) -> float:
        """Of the tokens."""
        return self.supervised_tokens / self.tokens if self.tokens else 0.0


def inspect_data(config: RunConfig, *, emit: Callable[[Event], None] = silent) -> list[Inspection]:
    """The training files together, then the held-out file where one is named."""
    settings = config.data
    opened = open_tokenizer(
        config.model,
        trust_remote_code=config.trust_remote_code,
        emit=lambda phase: emit(Progress(phase)),
    )
    gathered = gather(
        settings,
        opened.tokenizer,
        context=opened.context,
        seed=config.train.seed,
        course=Course(config.train.threads, emit),
        always_look=True,
    )
    name = ", ".join(source.path for source in settings.sources)
    train = _inspection(name, gathered.train, dropped=gathered.overview.dropped)
    few = told_of_few(
        round((1 - settings.held_share) * len(gathered.train.rows)), config.method.kind
    )
    warnings = (*train.warnings, *gathered.overview.notes, *few)
    train = replace(train, warnings=warnings, estimate=_estimate(config, opened.config, train))
    if gathered.held is None or settings.held is None:
        return [train]
    return [train, _inspection(settings.held.path, gathered.held)]


def _inspection(file: str, side: Side, *, dropped: Sequence[int] = ()) -> Inspection:
    contents, rows = [each.file.contents for each in side.sources], side.rows
    if dropped:  # beside faults they are still there, for a run refuses all of the data
        rows = rows.take(~np.isin(rows.owners, np.array(dropped)))
    left_out = sum(side.counts) - len(np.unique(rows.owners))
    return Inspection(
        file=file,
        format=_joined(each.format for each in contents),
        reason=_joined(each.reason for each in contents) or "",
        rows=sum(each.records for each in contents) - left_out,
        left_out=left_out,
        tokens=rows.tokens,
        supervised_tokens=rows.supervised_tokens,
        longest=rows.longest,
        faults=side.faults,
        warnings=side.notes,
        lengths=length_statistics(rows.lengths),
    )


def _joined(words: Iterable[str | None]) -> str | None:
    """Each word once; None where one is not known."""
    each = dict.fromkeys(words)
    return None if None in each else "; ".join(filter(None, each))


def _estimate(
    config: RunConfig, shape: PretrainedConfig, inspection: Inspection
) -> Estimate | None:
    """The time of the epochs over what is not held out; None where a run would not begin."""
    if inspection.faults or config.train.steps or config.train.minutes:
        return None
    epochs = config.train.epochs or DEFAULT_EPOCHS
    tokens = round((1 - config.data.held_share) * inspection.tokens * epochs)
    return estimate(config, shape, tokens=tokens, supervised=inspection.supervised_share)
