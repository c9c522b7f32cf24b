"""A run that has begun: its config and folder, and how its events are recorded there."""

import time
from dataclasses import dataclass, replace

from tunesmith.config import RunConfig
from tunesmith.core.progress import Event, Notice, Progress
from tunesmith.core.ranks import is_first
from tunesmith.data.dataset import RunRows
from tunesmith.runs.folder import RunFolder, curves_of
from tunesmith.runs.mirror import Mirror
from tunesmith.training.length import choose_length


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run, new or resumed; ``progress`` writes events into its folder, ``notices`` collects."""

    config: RunConfig
    folder: RunFolder
    progress: Progress
    notices: list[str]
    start: float


def begin(config: RunConfig, folder: RunFolder, progress: Progress) -> StartedRun:
    """Record every event in the run's folder from now on, before it is passed on."""
    notices: list[str] = []
    curves = curves_of(folder.path) if config.train.tensorboard and is_first() else None
    mirror = Mirror(folder.path, config.mirror) if config.mirror and is_first() else None

    def record(event: Event) -> None:
        folder.record(event)
        if isinstance(event, Notice):
            notices.append(event.message)
        if curves is not None:
            curves(event)
        if mirror is not None:
            mirror.on_event(event, recording)
        progress.report(event)

    recording = replace(progress, on_event=record, threads=config.train.threads)
    return StartedRun(config, folder, recording, notices, time.perf_counter())


def with_length(run: StartedRun, rows: RunRows) -> StartedRun:
    """The run with its step size and passes chosen; its folder's config has them from now on."""
    has_held, lengths = rows.held is not None, rows.train.lengths
    found = choose_length(run.config.train, lengths, has_held=has_held, copies=rows.copies)
    if found.reason is None:
        return run
    run.progress.notice("length", found.reason)
    config = run.config.model_copy(update={"train": found.settings})
    run.folder.write_config(config.model_dump(mode="json", by_alias=True))
    return replace(run, config=config)
