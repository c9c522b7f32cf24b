"""What a run retains: the texts, where they come from, and what the base makes of each token."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.adapters.loaded_base import LoadedBase
from tunesmith.config import DataSettings, RunConfig
from tunesmith.config.run import AUTO, DataSource
from tunesmith.core.errors import DataError
from tunesmith.core.numbers import percent, pluralize
from tunesmith.core.progress import Progress
from tunesmith.core.rank_help import SharedState, led
from tunesmith.data.dataset import RunRows
from tunesmith.data.quality.language_fit import languages_of
from tunesmith.data.rows import TokenRow
from tunesmith.evaluation.measures import KnownBase
from tunesmith.evaluation.probe_run import ProbeRun
from tunesmith.models.hub_bases import is_published_for
from tunesmith.runs.base_texts import DEFAULT_LANGUAGE, LENGTHS, known_languages, written_by
from tunesmith.runs.rows import load_rows
from tunesmith.runs.started import StartedRun
from tunesmith.training.retention import Retention, teacher_states

MAX_TOKENS = LENGTHS[-1]  # of a text that a user gives; its beginning is used


def retention_of(
    run: StartedRun, base: KnownBase, rows: RunRows, probing: ProbeRun | None
) -> Retention | None:
    """The run's retention documents with the base's states; None where nothing is retained.

    The base must be as it was before training. Raises DataError for given texts that share a
    passage with a probe, by which forgetting would be measured on what is trained.
    """
    config, progress = run.config, run.progress
    settings, seed = config.train.retention, config.train.seed
    if settings is None:
        return None
    languages = _languages(config, rows) if settings.texts == AUTO else ()
    key = (settings.texts, languages, seed)
    if key not in base.retained:
        documents = led(
            lambda: (
                _written(base.loaded, languages, probing, progress)
                if settings.texts == AUTO
                else _given(settings.texts, base.loaded, probing, seed=seed)
            ),
            SharedState((base.loaded.engine,)),
        )
        phase = progress.phase("reading retention texts", len(documents))
        base.retained[key] = documents, teacher_states(base.loaded.engine, documents, phase=phase)
    documents, states = base.retained[key]
    engine = base.loaded.engine
    if engine.head_weight.requires_grad:
        engine.base_head_weight = engine.head_weight.detach().clone()
    tokens = sum(len(document.ids) for document in documents)
    progress.notice(
        "retention",
        "so that it keeps its other abilities, each step also has texts by the base, "
        f"{percent(settings.share)} of its rows' tokens ({pluralize(len(documents), 'text')} of "
        f"{pluralize(tokens, 'token')})",
    )
    return Retention(documents, states, settings.kl_weight, settings.share, seed)


def _languages(config: RunConfig, rows: RunRows) -> tuple[str, ...]:
    """English, and the rows' languages unless the base's publisher names others alone."""
    found = dict.fromkeys(
        [DEFAULT_LANGUAGE, *(each.language for each in languages_of(rows.sample))]
    )
    return tuple(
        language
        for language in found
        if language in known_languages()
        and (language == DEFAULT_LANGUAGE or is_published_for(config.model, language) is not False)
    )


def _written(
    loaded: LoadedBase, languages: Sequence[str], probing: ProbeRun | None, progress: Progress
) -> tuple[TokenRow, ...]:
    """What the base writes, without what it writes of a probe."""
    phase = progress.phase("writing retention texts")
    written = written_by(loaded, languages, phase=phase)
    found = [_unsupervised(np.array(ids, np.int32), "", i) for i, ids in enumerate(written, 1)]
    shared = probing.sharing_text(found) if probing else ()
    return tuple(each for i, each in enumerate(found) if i not in shared)


def _given(
    texts: str | Sequence[str], loaded: LoadedBase, probing: ProbeRun | None, *, seed: int
) -> tuple[TokenRow, ...]:
    """The beginnings of a user's texts."""
    files = (texts,) if isinstance(texts, str) else texts
    sources = tuple(DataSource(path=path) for path in files)
    read = DataSettings(train=sources, eval=0.0, overflow="truncate")
    tokenizer, context = loaded.base.tokenizer, loaded.base.context
    rows = load_rows(read, tokenizer, context=context, seed=seed).train
    first: dict[tuple[str, int], TokenRow] = {}
    for i in range(len(rows)):  # of a text or chat that is several documents
        first.setdefault((rows[i].file, rows[i].line), rows[i])
    given = [_unsupervised(row.ids[:MAX_TOKENS], *place) for place, row in first.items()]
    if probing and (shared := probing.sharing_text(given)):
        one = given[min(shared)]
        raise DataError(
            f"{one.file}:{one.line}: this retention text shares a passage with a probe of "
            f"forgetting ({pluralize(len(shared), 'such text')}).",
            remedy="Remove it, so that the probe measures what was not trained.",
        )
    return tuple(given)


def _unsupervised(ids: NDArray[np.int32], file: str, line: int) -> TokenRow:
    return TokenRow(ids, np.zeros(len(ids), np.float32), file, line)
