"""Would a run take this data: every fault and remark of its files, its lengths, and an estimate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from tunesmith.config.run import AUTO, RunConfig
from tunesmith.core.progress import SILENT, Progress
from tunesmith.data.chat_format import inserted_system_prompt
from tunesmith.data.chat_text import with_options
from tunesmith.data.dataset import Numbers
from tunesmith.data.faults import Note
from tunesmith.data.formats.columns import PLAIN_TEXT
from tunesmith.data.quality.distribution import few_rows
from tunesmith.data.quality.persona import persona_notes
from tunesmith.data.read import empty_rows
from tunesmith.data.rows import Conversation
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.estimate.duration import Estimate, estimate
from tunesmith.methods import table
from tunesmith.models.catalog import find_entry
from tunesmith.models.load import context_of, read_config, read_tokenizer
from tunesmith.models.quiet import no_progress_bars
from tunesmith.models.resolve import resolve
from tunesmith.models.supported import check_config
from tunesmith.runs.enough import few_held_out, few_notes
from tunesmith.runs.inspection import Inspection, joined, length_statistics
from tunesmith.runs.language_fit import language_notes
from tunesmith.runs.model_choice import with_model
from tunesmith.runs.rows import MAX_SAMPLED, LoadedData, Side, load_sources
from tunesmith.training.length import choose_length
from tunesmith.training.steps import EARLIER_EPOCHS


@dataclass(frozen=True, slots=True)
class OpenedTokenizer:
    """A base's tokenizer, the longest document in tokens that the base admits, and its shape."""

    tokenizer: PreTrainedTokenizerBase
    context: int
    config: PretrainedConfig


def open_tokenizer(
    model: str,
    *,
    trust_remote_code: bool = False,
    options: Mapping[str, object] = {},
    progress: Progress = SILENT,
) -> OpenedTokenizer:
    """Read only what rows are rendered with; raises ModelError as loading the base would.

    ``options`` are variables of the chat template.
    """
    folder = resolve(model, trust_remote_code=trust_remote_code, progress=progress)
    with no_progress_bars():
        config = read_config(folder, trust_remote_code=trust_remote_code)
        check_config(config, folder)
        tokenizer = read_tokenizer(folder, trust_remote_code=trust_remote_code)
    tokenizer = with_options(tokenizer, options)
    return OpenedTokenizer(tokenizer, context_of(config, folder), config.get_text_config())


def tokenizer_here(model: str) -> Tokenizer | None:
    """The tokenizer of a base that is on this machine; None where it would have to be fetched."""
    entry = find_entry(model)
    folder = entry.folder if entry is not None else Path(model).expanduser()
    if not (folder / "config.json").is_file():
        return None
    tokenizer: Tokenizer = read_tokenizer(folder, trust_remote_code=False)
    return tokenizer


def inspect_data(config: RunConfig, *, progress: Progress = SILENT) -> list[Inspection]:
    """The training files together, then the held-out file where one is named."""
    settings, progress = config.data, replace(progress, threads=config.train.threads)
    config = with_model(config, progress=progress)
    opened = open_tokenizer(
        config.model,
        trust_remote_code=config.trust_remote_code,
        options=settings.template_options,
        progress=progress,
    )
    loaded = load_sources(
        settings,
        opened.tokenizer,
        context=opened.context,
        seed=config.train.seed,
        progress=progress,
        always_look=True,
    )
    name = ", ".join(source.path for source in settings.sources)
    train = _inspection(name, loaded.train, dropped=loaded.report.dropped)
    notes = (*_few(config, loaded), *_persona(loaded, opened.tokenizer))
    unread = language_notes(
        _sample(loaded.train), config.model, opened.tokenizer, device=config.device
    )
    warnings = (*unread, *train.warnings, *loaded.report.notes, *notes)
    kept = round((1 - settings.held_share) * len(loaded.train.rows))
    lengths = loaded.train.rows.lengths[:kept]
    train = replace(
        train, warnings=warnings, estimate=_estimate(config, opened.config, train, lengths)
    )
    if loaded.held is None or settings.held is None:
        return [train]
    return [train, _inspection(settings.held.path, loaded.held)]


def _few(config: RunConfig, loaded: LoadedData) -> Iterator[Note]:
    """Few rows, steps or held-out rows; where a run would refuse the data, few rows alone."""
    rows, held = loaded.train.rows, loaded.held
    if loaded.faults:
        kept = round((1 - config.data.held_share) * len(rows))
        yield from few_rows(kept, config.method.kind, enough=table.of(config.method).min_rows)
        return
    is_held = np.isin(rows.owners, np.array(loaded.report.held, dtype=np.int64))
    count = len(loaded.report.held) if held is None else len(held.rows)
    yield from few_notes(config, rows.lengths[~is_held], count)
    are_asked = any(each.contents.format != PLAIN_TEXT.name for each in loaded.train.sources)
    if are_asked and not config.evaluate.checks:  # which most write after this
        yield from few_held_out(min(count, config.evaluate.rows))


def _persona(loaded: LoadedData, tokenizer: PreTrainedTokenizerBase) -> Iterator[Note]:
    """Where the system prompt that rows are read under disagrees with their answers."""
    if loaded.faults or not tokenizer.chat_template:
        return
    rows = loaded.train.conversations(np.arange(sum(loaded.train.counts))[:MAX_SAMPLED])
    yield from persona_notes(rows, inserted_system_prompt(tokenizer))


def _sample(side: Side) -> list[Conversation]:
    """Some conversations of a side, evenly spread over its files, faulty rows left out."""
    total = sum(side.counts)
    count = min(total, MAX_SAMPLED)
    return list(side.conversations(np.arange(count) * total // max(1, count)))


def _inspection(file: str, side: Side, *, dropped: Sequence[int] = ()) -> Inspection:
    contents, rows = [each.contents for each in side.sources], side.rows
    if dropped:  # beside faults they are still there, for a run refuses all of the data
        rows = rows.take(~np.isin(rows.owners, np.array(dropped)))
    left_out = sum(side.counts) - len(np.unique(rows.owners)) + empty_rows(side.notes)
    return Inspection(
        file=file,
        format=joined(each.format for each in contents),
        reason=joined(each.reason for each in contents) or "",
        rows=sum(each.records for each in contents) - left_out,
        left_out=left_out,
        tokens=rows.tokens,
        supervised_tokens=rows.supervised_tokens,
        longest=rows.longest,
        faults=side.faults,
        warnings=side.notes,
        lengths=length_statistics(rows.lengths),
    )


def _estimate(
    config: RunConfig, shape: PretrainedConfig, inspection: Inspection, lengths: Numbers
) -> Estimate | None:
    """The time of the passes over as many rows as ``lengths`` (tokens) has, those that are not held
    out; None where a run would not begin.
    """
    if inspection.faults or not len(lengths) or config.train.steps or config.train.minutes:
        return None
    has_held = config.data.holds_out
    train = choose_length(config.train, lengths, method=config.method, has_held=has_held).settings
    assert train.epochs != AUTO
    epochs = train.epochs or EARLIER_EPOCHS
    tokens = round((1 - config.data.held_share) * inspection.tokens * epochs)
    return estimate(config, shape, tokens=tokens, supervised=inspection.supervised_share)
