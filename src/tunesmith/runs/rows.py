"""From a run's data settings to its rows: read, tokenized, compared, limited, and held out.

`data check` reports it and a run begins with it: nothing else reads these files.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import DataSettings, RunConfig
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import SILENT, Progress
from tunesmith.data import token_store
from tunesmith.data.chat_format import require_system_messages
from tunesmith.data.dataset import Dataset, Limit, Numbers, RunRows, joined, limited, nothing_left
from tunesmith.data.faults import Faults, Note, RowReport, refuse
from tunesmith.data.quality.report import (
    DATASET_REPORT,
    QUALITY_VERSION,
    DatasetReport,
    analyze,
)
from tunesmith.data.read import empty_rows
from tunesmith.data.rows import Conversation
from tunesmith.data.split import Prompts, choose_held
from tunesmith.data.template import Rendering
from tunesmith.data.token_cache import TOKENS_VERSION, Work, combined, tokens_of
from tunesmith.data.token_store import ConversationSubset, TokenFile
from tunesmith.data.tokenize import Recipe
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.models.cache import cache_root
from tunesmith.runs.inputs import source_request

Item = TypeVar("Item")


def part_of(rows: Sequence[Item], *, share: float, seed: int) -> list[Item]:
    """At least one of the rows, in their order; which ones depends on their number and the seed."""
    count = max(1, round(share * len(rows))) if len(rows) else 0
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    return [rows[i] for i in sorted(chosen.tolist())]


NONE: Numbers = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Side:
    """Sources on one side of a run: their rows, the faults of both, and what was noticed.

    Rows that are refused for their length are among the rows.
    """

    sources: tuple[TokenFile, ...]
    rows: Dataset
    faults: Faults
    notes: tuple[Note, ...]

    def conversations(self, numbers: Numbers) -> ConversationSubset:
        """Some of their conversations, numbered through all sources."""
        return ConversationSubset([each.conversations for each in self.sources], numbers)

    @property
    def counts(self) -> list[int]:
        """How many conversations each source has."""
        return [len(each.conversations) for each in self.sources]


@dataclass(frozen=True, slots=True)
class LoadedData:
    """What is trained on, the file that is held out if one is named, and the report on both."""

    train: Side
    held: Side | None
    report: DatasetReport

    @property
    def faults(self) -> Faults:
        """Every reason to refuse, those of the training sources first."""
        sides = [self.train, *([self.held] if self.held else [])]
        codes = {code for side in sides for code in side.faults.unlisted}
        return Faults(
            tuple(fault for side in sides for fault in side.faults.listed),
            {code: sum(side.faults.unlisted.get(code, 0) for side in sides) for code in codes},
        )


def rendering_of(settings: DataSettings) -> Rendering:
    """What the settings make a document of a row."""
    return Rendering(document=settings.document, control_tokens=settings.control_tokens)


def load_sources(
    settings: DataSettings,
    tokenizer: Tokenizer,
    *,
    context: int,
    seed: int,
    progress: Progress,
    always_look: bool = False,
) -> LoadedData:
    """Read, tokenize and compare a run's sources; what was made before comes from the cache.

    Rows with faults are compared with others only with ``always_look``, for the report; it changes
    nothing of what is refused. Raises DataError for what is no fault of rows.
    """
    if settings.system is not None and getattr(tokenizer, "chat_template", None):
        require_system_messages(tokenizer)
    limit = Limit(min(context, settings.max_tokens or context), settings.long_rows)
    recipe = Recipe(tokenizer, limit.max_tokens, rendering_of(settings))
    work = Work(cache_root() / "tokens", progress)
    named = [settings.held] if settings.held else []
    held = [tokens_of(source_request(settings, each), recipe, work) for each in named]
    train = [tokens_of(source_request(settings, each), recipe, work) for each in settings.sources]
    is_sound = not any(each.contents.faults for each in (*train, *held))
    is_sound = is_sound and not _is_too_long(train, settings, limit)
    report = nothing = DatasetReport()
    if is_sound or always_look:
        long = _all_long(train, limit)
        report = _report(train, held, settings, seed=seed, long=long, work=work)
    name = ", ".join(each.path for each in settings.sources)
    return LoadedData(
        train=_side(train, limit, name=name, found=report if is_sound else nothing),
        held=_side(held, limit, name=named[0].path, found=nothing) if held else None,
        report=report,
    )


def _rows(sources: Sequence[TokenFile]) -> Dataset:
    counts = [len(each.conversations) for each in sources]
    return joined([each.rows for each in sources], counts)


def _all_long(sources: Sequence[TokenFile], limit: Limit) -> Numbers:
    """The conversations that are left out because none of their documents is short enough."""
    if limit.overflow != "drop":
        return NONE
    rows = _rows(sources)
    short = rows.lengths <= limit.max_tokens
    return np.setdiff1d(rows.owners[~short], rows.owners[short])


def _is_too_long(sources: Sequence[TokenFile], settings: DataSettings, limit: Limit) -> bool:
    """Whether a row is refused for its length, whatever is left out."""
    if limit.overflow != "error" or settings.drop:
        return False
    return any(each.rows.longest > limit.max_tokens for each in sources)


def _report(
    train: Sequence[TokenFile],
    held: Sequence[TokenFile],
    settings: DataSettings,
    *,
    seed: int,
    long: Numbers,
    work: Work,
) -> DatasetReport:
    """What follows from all rows but the ``long``, as it was found before, or found and kept."""
    keys = [each.key for each in (*train, *held)]
    key = combined(
        {
            "sources": [*zip(keys, (each.path for each in settings.sources), strict=False)],
            "held": [keys[len(train) :], settings.held and settings.held.path, settings.held_share],
            "drop": settings.drop,
            "seed": seed,
            "long": zlib.crc32(long.tobytes()),
            "code": [TOKENS_VERSION, QUALITY_VERSION],
        }
    )
    folder = work.root / (keys[0] or "")
    known = token_store.remembered(folder, key) if None not in keys else None
    if known is not None:
        return DATASET_REPORT.validate_json(known)
    stores = [each.conversations for each in train]
    others = [each.conversations for each in held]
    total = sum(map(len, (*stores, *others)))
    phase = work.progress.quiet_phase(f"comparing {pluralize(total, 'row')}", total)
    found = analyze(
        stores, chain.from_iterable(others), settings, seed=seed, long=long, seen=phase.step
    )
    if None not in keys:
        token_store.remember(folder, key, DATASET_REPORT.dump_json(found).decode())
    return found


def _side(sources: Sequence[TokenFile], limit: Limit, *, name: str, found: DatasetReport) -> Side:
    """The rows of some sources within the limit, without those that ``found`` drops."""
    rows, report = _rows(sources), RowReport()
    for each in sources:
        report.merge(each.contents.faults, each.contents.notes)
    if found.dropped:
        rows = rows.take(~np.isin(rows.owners, np.array(found.dropped)))
    rest = limited(rows, limit)
    report.merge(rest.faults, rest.notes)
    if found.problem is not None:
        report.add_faults([found.problem.at(name, None)])
    elif not report.faults and not len(rest.rows):
        problem = nothing_left(rest.long, limit, empty=empty_rows(report.notes))
        report.add_faults([problem.at(name, None)])
    notes = _placed(report.notes, files=len(rows.files))
    return Side(tuple(sources), rest.rows, _in_order(report.faults, rows.files), notes)


def _placed(notes: tuple[Note, ...], *, files: int) -> tuple[Note, ...]:
    """The notes, without the lines where it is not clear of which file they are."""
    if files < 2:
        return notes
    return tuple(replace(n, lines=tuple(line for line in n.lines if not line)) for n in notes)


def _in_order(faults: Faults, files: Sequence[str]) -> Faults:
    """Faults of the sources' files one after the other, those of whole files first."""
    places = {file: place for place, file in enumerate(files)}
    listed = sorted(faults.listed, key=lambda fault: places.get(fault.file, -1))
    return Faults(tuple(listed), faults.unlisted)


ONCE: NDArray[np.float64] = np.zeros(0)

MAX_SAMPLED = 2000


def load_rows(
    settings: DataSettings,
    tokenizer: Tokenizer,
    *,
    context: int,
    seed: int,
    progress: Progress = SILENT,
) -> RunRows:
    """A run's rows on both sides; raises FaultyData with every fault of every file."""
    loaded = load_sources(settings, tokenizer, context=context, seed=seed, progress=progress)
    refuse(loaded.faults)
    train, held = loaded.train, loaded.held
    rows = replace(train.rows, notes=(*train.notes, *loaded.report.notes))
    held_rows: Dataset | None = None
    asked: Sequence[Conversation] = ()
    numbers = np.array(loaded.report.held, dtype=np.int64)
    if held is not None:
        held_rows, asked = held.rows, held.conversations(np.unique(held.rows.owners))
    elif len(numbers):
        is_held = np.isin(rows.owners, numbers)
        held_rows, asked = rows.take(is_held), train.conversations(numbers)
        rows = rows.take(~is_held)
    if settings.share < 1:
        part = part_of(np.unique(rows.owners).tolist(), share=settings.share, seed=seed)
        rows = rows.take(np.isin(rows.owners, part))
    copies = _copies(rows, loaded, settings)
    found = RunRows(rows, held_rows, asked, copies, _sample(train, rows))
    return _with_validation(found, share=settings.validation, seed=seed)


def _with_validation(rows: RunRows, *, share: float, seed: int) -> RunRows:
    """The held-out rows in two parts, nearly equal questions on one side of them.

    Raises DataError where they cannot be parted.
    """
    held, asked = rows.held, rows.held_conversations
    if not share or held is None:
        return rows
    prompts = Prompts()
    for conversation in asked:
        prompts.observe(conversation)
    chosen, _ = choose_held(prompts.groups(), share=share, seed=seed)
    places = np.searchsorted(np.unique(held.owners), held.owners)
    is_choosing = chosen[places]
    return replace(
        rows,
        held=held.take(~is_choosing),
        held_conversations=[asked[i] for i in np.flatnonzero(~chosen).tolist()],
        validation=held.take(is_choosing),
        validation_conversations=[asked[i] for i in np.flatnonzero(chosen).tolist()],
    )


def _sample(train: Side, rows: Dataset) -> tuple[Conversation, ...]:
    """At most ``MAX_SAMPLED`` rows that are trained on, evenly spread over the files."""
    owners = np.unique(rows.owners)
    count = min(len(owners), MAX_SAMPLED)
    return tuple(train.conversations(owners[np.arange(count) * len(owners) // max(1, count)]))


def _copies(rows: Dataset, loaded: LoadedData, settings: DataSettings) -> NDArray[np.float64]:
    """The weight of each row's source; empty where all weigh 1."""
    weights = np.array([source.weight for source in settings.sources])
    if (weights == 1.0).all():
        return ONCE
    ends = np.cumsum(loaded.train.counts)
    return weights[np.searchsorted(ends, rows.owners, side="right")]


def load_rows_for(
    config: RunConfig, loaded: LoadedBase, adapter: str | None, progress: Progress = SILENT
) -> RunRows:
    """The rows of a run over a base, read for one of its adapters in the room it leaves."""
    return load_rows(
        config.data,
        loaded.tokenizer(adapter),
        context=loaded.base.context - loaded.engine.prefix_length(adapter),
        seed=config.train.seed,
        progress=progress,
    )
