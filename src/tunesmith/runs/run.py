"""One training run from config to adapter: what `train` does, for command line and notebook."""

from collections.abc import Callable
from pathlib import Path

from tunesmith.config import RunConfig
from tunesmith.core import files
from tunesmith.core.errors import RunError, TunesmithError
from tunesmith.core.progress import OnEvent, Progress, never
from tunesmith.evaluation.arms import require_evaluable
from tunesmith.evaluation.measures import KnownBase
from tunesmith.runs.continuation import resolved
from tunesmith.runs.folder import RunFolder, alone, free_folder
from tunesmith.runs.neighbours import announced
from tunesmith.runs.one_run import OneRun, open_for
from tunesmith.runs.rows import require_files
from tunesmith.runs.summary import RunSummary, complete_summary
from tunesmith.training.loop import train


def train_run(config: RunConfig, *, emit: OnEvent, stop: Callable[[], bool] = never) -> RunSummary:
    """Run a new training; raises RunError where its folder holds another run.

    What is refused before a base is loaded writes nothing. Cancelled in training or after it, the
    run ends as `stopped`; before its first step Cancelled is raised. Either way it can be resumed.
    """
    progress = Progress(emit, cancelled=stop)
    require_evaluable(config)  # what is faulty is refused before anything is written
    require_files(config.data)  # so is a missing file
    config = resolved(config)
    folder = RunFolder(Path(config.out or _free_name(config)))
    config = config.model_copy(update={"out": str(folder.path)})
    folder.create(config.model_dump(mode="json", by_alias=True))
    with alone(folder.path):
        try:
            return _go(OneRun(config, folder, progress=progress))
        except TunesmithError as error:
            if error.code != "disk":  # which asks to go on
                folder.discard_unless_begun()
            raise


def resume_run(path: Path, *, emit: OnEvent, stop: Callable[[], bool] = never) -> RunSummary:
    """Go on with an interrupted run, from its newest complete checkpoint.

    A complete one is left as it is, and its summary comes back.
    """
    progress, folder = Progress(emit, cancelled=stop), RunFolder(path)
    if not folder.config.exists():
        raise RunError(
            f"{path} holds no run (no config.yaml).", remedy="`tunesmith runs list` shows them."
        )
    config = folder.read_config()
    with alone(folder.path):
        files.sweep(folder.path)
        if (summary := complete_summary(folder, config)) is not None:
            progress.notice("complete", f"{path}: the run is complete; this is how it ended")
            return summary
        return _go(OneRun(config, folder, progress=progress))


def _free_name(config: RunConfig) -> str:
    """runs/DATA-METHOD, with a number where that is taken."""
    stem = f"{Path(config.data.sources[0].path).stem}-{config.method.kind}"
    return str(free_folder(stem))


def _go(run: OneRun) -> RunSummary:
    """Load, train, evaluate, save, and report other trainings here."""
    settings = run.config.train
    with announced(run.folder.path, device=run.config.device, threads=settings.threads) as notice:
        if notice is not None:
            run.progress.report(notice)
        run.prepare(KnownBase(open_for(run.config, progress=run.progress)))
        member = run.member(run.build_optimizer())
        for _, event in train([member], progress=run.progress):
            run.progress.report(event)
        if member.error is not None:
            raise member.error
        return run.finish(member)
