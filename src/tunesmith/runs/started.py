"""A run that has begun: its config and folder, and how its events are recorded there."""

import time
from dataclasses import dataclass, replace

from tunesmith.config import RunConfig
from tunesmith.core.progress import Event, Notice, Progress
from tunesmith.runs.folder import RunFolder, curves_of


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
    curves = curves_of(folder.path) if config.train.tensorboard else None

    def record(event: Event) -> None:
        folder.record(event)
        if isinstance(event, Notice):
            notices.append(event.message)
        if curves is not None:
            curves(event)
        progress.report(event)

    recording = replace(progress, on_event=record, threads=config.train.threads)
    return StartedRun(config, folder, recording, notices, time.perf_counter())
