"""A run that has begun: its config and folder, and how its events are recorded there."""

import time
from dataclasses import dataclass, replace

from tunesmith.config import RunConfig
from tunesmith.core.progress import Event, Notice, Progress
from tunesmith.core.ranks import is_first
from tunesmith.data.dataset import RunRows
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.mirror import Mirror
from tunesmith.runs.trackers import Trackers, start_trackers
from tunesmith.training.length import choose_length


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run, new or resumed; ``progress`` writes events into its folder, ``notices`` collects."""

    config: RunConfig
    folder: RunFolder
    progress: Progress
    notices: list[str]
    trackers: Trackers
    start: float


def begin(config: RunConfig, folder: RunFolder, progress: Progress) -> StartedRun:
    """Record every event in the run's folder from now on, before it is passed on."""
    notices: list[str] = []
    mirror = Mirror(folder.path, config.mirror) if config.mirror and is_first() else None

    def record(event: Event) -> None:
        folder.record(event)
        if isinstance(event, Notice):
            notices.append(event.message)
        progress.report(event)

    names = (*config.train.trackers, *(["tensorboard"] if config.train.tensorboard else []))
    names = names if is_first() else ()
    trackers = start_trackers(names, folder, config.model_dump(mode="json"), emit=record)

    def tracked(event: Event) -> None:
        record(event)
        trackers.event(event)
        if mirror is not None:
            mirror.on_event(event, recording)

    recording = replace(progress, on_event=tracked, threads=config.train.threads)
    return StartedRun(config, folder, recording, notices, trackers, time.perf_counter())


def with_length(run: StartedRun, rows: RunRows) -> StartedRun:
    """The run with its step size and passes chosen; its folder's config has them from now on."""
    has_held, lengths = rows.held is not None, rows.train.lengths
    found = choose_length(
        run.config.train,
        lengths,
        method=run.config.method,
        has_held=has_held,
        copies=rows.copies,
        checked_by=run.config.evaluate.checked_by,
    )
    if found.reason is None:
        return run
    run.progress.notice("length", found.reason)
    config = run.config.model_copy(update={"train": found.settings})
    run.folder.write_config(config.model_dump(mode="json", by_alias=True))
    return replace(run, config=config)
