"""Which folder does a run take that names none? A free one, made at once, so no other takes it."""

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from tunesmith.config.run import RunConfig
from tunesmith.core.rank_work import by_first
from tunesmith.core.ranks import is_restarted
from tunesmith.runs.folder import RunFolder, cannot_be_made
from tunesmith.runs.history import read_run


def name_of_rows(path: str) -> str:
    """What a run is named after: a file without its ending, or `rows` for those of a program."""
    stem = Path(path).stem
    return "rows" if re.fullmatch("[0-9a-f]{64}", stem) else stem


def claim_folder(stem: str) -> Path:
    """runs/STEM, with a number where that is taken; made now. RunError where it cannot be."""
    return next(path for path in _names(stem) if _is_made(path))


def _is_made(path: Path) -> bool:
    """Whether this process has made the folder; not where another has, or a file lies there."""
    if path.exists():
        return False
    try:
        path.mkdir(parents=True)
    except OSError as error:
        if path.exists():  # another process was faster
            return False
        raise cannot_be_made(path, error) from error
    return True


def _names(stem: str) -> Iterator[Path]:
    """runs/STEM, runs/STEM-2, ..."""
    yield Path("runs") / stem
    yield from (Path("runs") / f"{stem}-{number}" for number in itertools.count(2))


@contextlib.contextmanager
def own_folder(given: str | Path | None, stem: str) -> Iterator[Path]:
    """The folder that is given, else a free one, which goes again where nothing comes to lie in it.

    Of several ranks the first makes it.
    """
    if given is not None:
        yield Path(given)
        return
    out = by_first(lambda: claim_folder(stem))
    try:
        yield out
    finally:
        with contextlib.suppress(OSError):  # it holds something
            out.rmdir()


@contextlib.contextmanager
def placed(config: RunConfig | None) -> Iterator[RunConfig | None]:
    """The config with the folder of its run: ``own_folder``; None for a run that has one."""
    if config is None:
        yield None
        return
    with own_folder(config.out, _stem_of(config)) as out:
        yield config.model_copy(update={"out": str(out)})


def unfinished_before(config: RunConfig) -> Path | None:
    """The last of the runs of the same name that can be resumed, of which none runs now; None where
    there is none, or a folder is named.
    """
    if config.out is not None:
        return None
    earlier = itertools.takewhile(Path.exists, _names(_stem_of(config)))
    begun = [path for path in earlier if RunFolder(path).is_begun]
    return next((path for path in reversed(begun) if read_run(path).can_resume), None)


def begun_before(config: RunConfig) -> Path | None:
    """The run that these ranks had begun when torchrun started them once more; None at first."""
    if not is_restarted():
        return None
    if config.out is not None:
        out = Path(config.out)
    else:
        names = list(itertools.takewhile(Path.exists, _names(_stem_of(config))))
        out = names[-1] if names else Path()
    return out if (out / "config.yaml").is_file() else None


def with_folder(config: RunConfig) -> RunConfig:
    """The config with the folder of its run: the one that is given, or a free one, made now."""
    out = Path(config.out) if config.out is not None else claim_folder(_stem_of(config))
    return config.model_copy(update={"out": str(out)})


def _stem_of(config: RunConfig) -> str:
    return f"{name_of_rows(config.data.sources[0].path)}-{config.method.kind}"
