"""What a search begins with: what it refuses, the rows that choose, and the length of its runs."""

import math
from pathlib import Path

from tunesmith.config.run import RunConfig
from tunesmith.core import ranks
from tunesmith.core.errors import ConfigError, DataError, UsageError
from tunesmith.core.numbers import pluralize
from tunesmith.data.dataset import RunRows
from tunesmith.evaluation.evaluator import require_evaluable
from tunesmith.evaluation.training_answers import require_answerable
from tunesmith.methods import table
from tunesmith.runs.inputs import require_files
from tunesmith.runs.mirror import require_no_mirror
from tunesmith.studies.compare import require_free
from tunesmith.studies.search_state import SearchState
from tunesmith.training.length import choose_length, patience_for
from tunesmith.training.steps import total_steps

VALIDATION = 0.5  # of the held-out rows, where the config says nothing
MIN_ROWS = 4  # on either side


def require_searchable(config: RunConfig, out: Path, *, minutes: float, most: int | None) -> None:
    """Raise for what cannot be searched, before anything is loaded or written."""
    if minutes <= 0 or not math.isfinite(minutes):
        raise UsageError(f"minutes is {minutes:g}: a search takes a time above 0.")
    if most is not None and most < 2:
        raise UsageError(
            f"settings is {most}: of fewer than 2 settings none is the better one.",
            remedy="Leave it out, or give 2 or more.",
        )
    if table.of(config.method).trains_base:
        raise ConfigError(
            "A search trains several adapters over one base, and `full` has none.",
            remedy="Search with --method lora; for a few settings of full: tunesmith compare "
            "--grid train.lr=5e-5,1e-4.",
        )
    if config.train.minutes is not None:
        raise ConfigError(
            "All runs of a search take the same steps, and train.minutes depends on each.",
            remedy="Give train.steps or train.epochs; --minutes is the time of the search.",
        )
    if ranks.size() > 1:
        raise ConfigError(
            f"A search runs in one process, and this one has {ranks.size()} ranks.",
            remedy="Start it without torchrun.",
        )
    if not config.data.eval:
        raise DataError(
            "A search needs held-out rows: a part of them chooses the settings, and the others "
            "score them.",
            remedy="Give --data.eval 0.2, or a file.",
        )
    require_evaluable(config)
    require_answerable(config)
    require_no_mirror(config, out)
    require_files(config.data)
    require_free(out)


def with_validation(config: RunConfig) -> RunConfig:
    """The config with a part of the held-out rows to choose by."""
    if config.data.validation:
        return config
    data = config.data.model_copy(update={"validation": VALIDATION})
    return config.model_copy(update={"data": data})


def with_length(state: SearchState, rows: RunRows, *, parts: int) -> None:
    """Put the steps of a whole run into the search's config, with a held-out loss and a checkpoint
    after each of the ``parts``. Raises DataError where too few rows are held out.
    """
    choosing, held = (len(each) if each else 0 for each in (rows.validation, rows.held))
    if min(choosing, held) < MIN_ROWS:
        raise DataError(
            f"{pluralize(choosing + held, 'held-out row')} are too few for a search: {choosing} "
            f"choose, and {held} are scored.",
            remedy=f"Hold out {2 * MIN_ROWS} or more: --data.eval 0.2, or a file.",
        )
    lengths = rows.train.lengths
    found = choose_length(
        state.config.train,
        lengths,
        method=state.config.method,
        has_held=True,
        copies=rows.copies,
    )
    train = found.settings
    steps = total_steps(lengths, train, copies=rows.copies)
    every = math.ceil(steps / parts)
    changes: dict[str, object] = {"steps": steps, "epochs": None, "evaluate_steps": every}
    changes |= {"save_steps": every, "answer_rows": 0}
    changes["best_by"] = "loss"  # by which settings are compared
    if train.patience != state.config.train.patience:  # that of auto, counted in passes
        assert isinstance(train.epochs, float)
        changes["patience"] = patience_for(steps / train.epochs, every)
    train = train.model_copy(update=changes)
    state.config = state.config.model_copy(update={"train": train})
    state.steps, state.every, state.rows = steps, every, (choosing, held)
