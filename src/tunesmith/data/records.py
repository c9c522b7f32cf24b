"""Which records data holds: a file of any kind, a folder of them, or a data set of the hub."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tunesmith.config.run import DataSettings, DataSource
from tunesmith.data.files.folder import data_files
from tunesmith.data.files.hub import is_hub_name, read_hub
from tunesmith.data.files.json_text import JSON_LINES
from tunesmith.data.files.record import ReadOptions, Record, kind_of
from tunesmith.data.files.source import Broken, open_source
from tunesmith.data.files.table import READERS, RecordReader, reader_of

__all__ = ["AUTO", "JSON_LINES", "READERS", "ReadOptions", "Record", "RecordReader", "exists"]
__all__ += ["files_of", "kind_of", "options_of", "read_records"]

AUTO = ReadOptions()


def options_of(settings: DataSettings, source: DataSource) -> ReadOptions:
    """What is said of a source that it does not say itself; what stands beside it goes before."""
    return ReadOptions(
        encoding=source.encoding or settings.encoding,
        delimiter=source.delimiter or settings.delimiter,
        part=source.part or settings.part,
    )


def exists(path: str | Path) -> bool:
    """Whether there is something to read; what the hub holds is seen when it is read."""
    return is_hub_name(str(path)) or Path(path).exists()


def files_of(path: str | Path, options: ReadOptions = AUTO) -> list[Path]:
    """The files that hold the records of ``path``; none for a data set of the hub."""
    if is_hub_name(str(path)):
        return []
    if not Path(path).is_dir():
        return [Path(path)]
    try:
        return list(data_files(Path(path), suffixes=READERS, part=options.part).data)
    except Broken:
        return []


def read_records(
    path: str | Path,
    options: ReadOptions = AUTO,
    *,
    readers: Mapping[str, RecordReader] | None = None,
) -> Iterator[Record]:
    """The records of ``path`` in order, one at a time; what cannot be read is one at line 0.

    ``readers`` by suffix, those of training data unless given.
    """
    readers = READERS if readers is None else readers
    try:
        if is_hub_name(str(path)):
            yield from read_hub(str(path), options)
        elif Path(path).is_dir():
            yield from _of_folder(Path(path), options, readers)
        else:
            yield from _of_file(Path(path), options, readers)
    except Broken as error:
        yield Record(0, None, error.problem)


def _of_folder(
    folder: Path, options: ReadOptions, readers: Mapping[str, RecordReader]
) -> Iterator[Record]:
    files = data_files(folder, suffixes=readers, part=options.part)
    yield Record(0, remarks=(files.told(),))
    for path in files.data:
        for record in read_records(path, replace(options, part=None), readers=readers):
            yield replace(record, file=str(path))


def _of_file(
    path: Path, options: ReadOptions, readers: Mapping[str, RecordReader]
) -> Iterator[Record]:
    if not path.exists():
        raise Broken("missing_file", "does not exist.", _nearby(path))
    if not path.is_file():
        raise Broken("not_a_file", "is no ordinary file.", "Write its rows into a file.")
    source = open_source(path, options.part)
    yield from reader_of(source, readers)(source, options)


def _nearby(path: Path) -> str:
    known = path.parent.glob("*") if path.parent.is_dir() else ()
    names = sorted(entry.name for entry in known if entry.suffix in READERS)
    near = difflib.get_close_matches(path.name, names, n=1)
    where = "beside it" if path.parent == Path() else f"in {path.parent}"
    there = f"Files {where}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}. "
    hint = f"Did you mean {path.parent / near[0]}? " if near else there if names else ""
    remedy = f"{hint}Paths are taken from the working directory."
    is_name = len(path.parts) == 2 and not path.is_absolute() and not path.suffix
    return f"{remedy} A data set of the hub is named hf:{path}." if is_name else remedy
