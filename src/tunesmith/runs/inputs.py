"""Is what a command names there? Answered by files alone, before anything heavy is imported."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tunesmith.config.methods import AnyMethod, init_path
from tunesmith.config.run import DataSettings, DataSource, RunConfig
from tunesmith.config.settings import EMPTY
from tunesmith.core.errors import ConfigError, RunError
from tunesmith.data.faults import RowReport, refuse
from tunesmith.data.read import SourceRequest, read_rows
from tunesmith.data.records import exists, nearby, options_of
from tunesmith.evaluation.probe_names import is_probe_file
from tunesmith.models.names import AUTO, require_base_name
from tunesmith.runs.folder import RunFolder
from tunesmith.runs.locate import locate, require_known

READ_AT_ONCE = 2000  # rows of a file that are read in under a second
COMPARISON, SEARCH = "comparison.json", "search.json"


def require_inputs(config: RunConfig, *, is_named: bool = True, is_new: bool = True) -> None:
    """Raise what a run of this config would be refused for by the files that it names.

    ``is_named``: its base is a name, and not a model in memory. ``is_new``: its folder must be
    free.
    """
    require_files(config.data)
    require_init(config.method)
    for key, path in _other_files(config):
        if not exists(path):
            raise ConfigError(f"{key}: {path}: does not exist.", remedy=nearby(Path(path)))
    if is_named and config.model.lower() != AUTO:
        require_base_name(config.model)
    if is_new and config.out is not None:
        RunFolder(Path(config.out)).require_free()


def source_request(settings: DataSettings, source: DataSource) -> SourceRequest:
    """How the settings read a source; its own options override those for all."""
    columns = settings.map if source.map is None else source.map
    format = source.format or settings.format
    return SourceRequest(
        source.path,
        format,
        columns,
        options_of(settings, source),
        drop_empty=EMPTY in settings.drop,
        system=settings.system,
    )


def require_files(settings: DataSettings) -> None:
    """Raise DataError where files of the data are missing, before anything is written or loaded."""
    report = RowReport()
    for source in _sources(settings):
        if not exists(source.path):
            _, _, rows = read_rows(source_request(settings, source))  # has the words for it
            for outcome in rows:
                report.add(outcome)
    refuse(report.faults)


def require_rows(settings: DataSettings) -> None:
    """Raise DataError where files here have other columns, or, where they have few rows, such as a
    run refuses: all of a file's faults, or none.
    """
    report = RowReport()
    for source in _sources(settings):
        if Path(source.path).expanduser().is_file():
            _, faults, rows = read_rows(source_request(settings, source))
            report.add_faults(faults)
            first = list(islice(rows, READ_AT_ONCE + 1))
            for outcome in first if len(first) <= READ_AT_ONCE else ():
                report.add(outcome)
    refuse(report.faults)


def _sources(settings: DataSettings) -> Iterator[DataSource]:
    """Of training rows and of a file that is held out."""
    yield from settings.sources
    if settings.held is not None:
        yield settings.held


def _other_files(config: RunConfig) -> Iterator[tuple[str, str]]:
    """The files that are read beside the rows, each with the key that names it."""
    retention, evaluate = config.train.retention, config.evaluate
    if retention is not None and retention.texts != AUTO:
        texts = retention.texts
        for path in (texts,) if isinstance(texts, str) else texts:
            yield "train.retention.texts", path
    if evaluate.forgetting is not None:
        for name in filter(is_probe_file, evaluate.forgetting.probes):
            yield "evaluate.forgetting.probes", name
    if evaluate.knowledge is not None and evaluate.knowledge.questions is not None:
        yield "evaluate.knowledge", evaluate.knowledge.questions


def require_init(settings: AnyMethod) -> None:
    """Raise ConfigError where method.init names a folder that is not there."""
    path = init_path(settings)
    if path and not Path(path).expanduser().is_dir():
        raise ConfigError(
            f"method.init: there is not a folder {path}.",
            remedy="Name the folder to continue from, or a start that `tunesmith train --help` "
            "lists.",
        )


def run_of(target: str) -> RunFolder | None:
    """The run that a name means, be it the folder of its result; None for anything else."""
    folder = Path(target).expanduser()
    if folder.name in ("adapter", "model") and (folder.resolve().parent / "config.yaml").is_file():
        folder = folder.parent
    return RunFolder(folder) if (folder / "config.yaml").is_file() else None


def require_target(target: str, data: str | None, *, is_named: bool = True) -> None:
    """Raise where nothing that can be evaluated has this name, or there is no file ``data``.

    ``is_named``: it is a name, and not a model in memory.
    """
    run = run_of(target)
    if run is not None:
        run.require_trained()
    elif data is None:
        raise ConfigError(
            f"{target} is not a run (no config.yaml), so it has no held-out rows of its own.",
            remedy="`tunesmith runs list` shows the runs. For an adapter or a model name a file "
            "with questions and answers: --data FILE.",
        )
    elif is_named:
        require_known(target)
        locate(target)
    if data is not None:
        require_files(DataSettings(train=data))


def require_new(out: Path) -> None:
    """Raise ConfigError where something lies at the path of a config that is to be written."""
    if out.exists():
        raise ConfigError(
            f"{out}: exists already, and is not overwritten.",
            remedy="Name another file with --out, or remove this one.",
            code="exists",
        )


def require_search(out: Path) -> None:
    """Raise RunError where no search lies in this folder."""
    if not (out / SEARCH).is_file():
        raise RunError(
            f"{out} holds no search: {SEARCH} is missing.",
            remedy="Name the folder that `tunesmith search` wrote.",
        )


def require_comparison(out: Path) -> None:
    """Raise RunError where no comparison lies in this folder."""
    if not (out / COMPARISON).is_file():
        raise RunError(
            f"{out} holds no comparison: {COMPARISON} is missing.",
            remedy="A single run is resumed with `tunesmith train --resume RUN`.",
        )
