"""Which records a path holds: a file of any kind, a folder of files, or a data set of the hub."""

import os
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NoReturn

from tunesmith.config.run import DataSettings, DataSource
from tunesmith.core import remote
from tunesmith.core.errors import StorageError
from tunesmith.core.numbers import pluralize
from tunesmith.core.phrases import listed, nearest
from tunesmith.data.faults import Note
from tunesmith.data.files.binary import read_arrow, read_hub, read_parquet, read_sheet
from tunesmith.data.files.delimited import read_delimited
from tunesmith.data.files.json_text import JSON_LINES, read_json
from tunesmith.data.files.source import PACKED, ZIP, Broken, Source, open_source
from tunesmith.data.files.text import read_prose
from tunesmith.data.rows import HUB, ReadOptions, Record, in_source

PROSE = (".txt", ".md")
# What others put beside rows.
ABOUT_A_FOLDER = ("README", "LICENSE", "LICENCE", "COPYING", "NOTICE", "UPSTREAM_LICENSE")
NO_ROWS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
NO_ROWS |= {"package.json", "config.json", "metadata.json"}
SAME = {".ndjson": ".jsonl", ".md": ".txt", ".tab": ".tsv"}
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("valid", "validation", "validate", "val", "dev", "eval"), "validation")


def data_files(
    folder: Path, *, suffixes: Collection[str], part: str | None
) -> tuple[list[Path], Note]:
    """The data files under ``folder``, sorted, and a note that names them and the skipped ones.

    Raises Broken where there is none or a choice.

    Texts count only where there is nothing else: beside rows they are a README or a license.
    """
    everything = sorted(_walk(folder))
    data = [path for path in everything if not _is_cache(path)]
    found = [path for path in data if kind_of_name(path) in suffixes]
    rows = [path for path in found if kind_of_name(path) not in PROSE]
    texts = [path for path in found if not path.name.upper().startswith(ABOUT_A_FOLDER)]
    files = _of_part(folder, rows or texts or found, part)
    if wrong := [path for path in files if any("\ud800" <= c <= "\udfff" for c in path.name)]:
        what = f"the name of a file in it is not UTF-8: {wrong[0].name!r}."
        raise Broken("file_name", what, "Rename it.")
    if not files:
        known = ", ".join(suffixes)
        what = f"is a folder without data files (known kinds: {known})."
        raise Broken("no_files", what, "Name the folder or the file that holds the rows.")
    kinds: dict[str, list[Path]] = {}
    for path in files:
        kinds.setdefault(SAME.get(kind_of_name(path), kind_of_name(path)), []).append(path)
    if len(kinds) > 1:
        shown = ", ".join(f"{pluralize(len(some), 'file')} {kind}" for kind, some in kinds.items())
        firsts = [str(some[0]) for some in kinds.values()]
        names, in_yaml = " ".join(map(shlex.quote, firsts)), shlex.quote(f"[{', '.join(firsts)}]")
        remedy = f"Name the files: `tunesmith data check {names}`, and to train --data {in_yaml}; "
        what = f"is a folder with several kinds of data files: {shown}."
        raise Broken("several_kinds", what, f"{remedy}or put those to read in a folder.")
    others = [path.name for path in everything if path not in set(files)]
    text = f"read {pluralize(len(files), 'file')}: {listed((path.name for path in files), 3)}"
    if others:
        text += f"; left out {pluralize(len(others), 'other')}: {listed(others, 3)}"
    return files, Note("folder", text)


def kind_of_name(path: Path) -> str:
    """The suffix of what is inside, by the file's name."""
    name = path.name.lower()
    for _, packed, _ in PACKED:
        name = name.removesuffix(packed)
    return PurePosixPath(name).suffix


def _walk(folder: Path) -> list[Path]:
    files = []
    for above, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        files += [Path(above) / n for n in names if not n.startswith(".") and n not in NO_ROWS]
    return [path for path in files if path.is_file()]


def _is_cache(path: Path) -> bool:
    """Whether `datasets` keeps there what it computed from the rows beside it."""
    beside = ("state.json", "dataset_info.json")
    return path.match("cache-*.arrow") and any((path.parent / name).exists() for name in beside)


def _refuse(error: OSError) -> NoReturn:
    what = f"holds a folder that cannot be read: {error.filename}: {error.strerror}."
    raise Broken("unreadable", what, "Give yourself the right to read it, or take it out.")


def _of_part(folder: Path, files: Sequence[Path], part: str | None) -> list[Path]:
    """The files of one split: rows to test on must not be trained on unseen."""
    splits: dict[str, list[Path]] = {}
    for path in files:
        splits.setdefault(_split(path.relative_to(folder)), []).append(path)
    named = [name for name in splits if name]
    if part is not None:
        wanted = SPLITS.get(part.lower(), part)
        wanted = "" if wanted == "train" and wanted not in splits else wanted
        if wanted not in splits:
            what = f"has no files of the part `{part}` (found: {', '.join(named) or 'no parts'})."
            raise Broken("unknown_part", what, "Leave --data.part out, or name another.")
        return splits[wanted]
    if len(splits) > 1 and set(named) != {"train"}:
        others = "" if "" not in splits else " and others"
        what = f"is a folder with files of several parts: {', '.join(named)}{others}."
        raise Broken("several_parts", what, "Say which, for example --data.part train.")
    return list(files)


def _split(path: Path) -> str:
    """The split that a file's name or folder tells, as `train-00000-of-00002.parquet` does."""
    for name in (path.name, *reversed(path.parts[:-1])):
        for word in name.lower().replace("_", "-").replace(".", "-").split("-"):
            if word in SPLITS:
                return SPLITS[word]
    return ""


RecordReader = Callable[[Source, ReadOptions], Iterator[Record]]

READERS: Mapping[str, RecordReader] = {
    **dict.fromkeys((*JSON_LINES, ".json"), read_json),
    **dict.fromkeys((".csv", ".tsv", ".tab", ".psv", ".ssv"), read_delimited),
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    **dict.fromkeys((".xlsx", ".xlsm", ".xls", ".ods"), read_sheet),
    **dict.fromkeys((".txt", ".md"), read_prose),
}
# How lines of objects and of lists begin, and a list of objects; a text hardly does.
JSON_ROWS = re.compile(rb'(?:\[\s*)?\{\s*"[^"\n]*(?:"\s*:|$)|\[\s*"[^"\n]*"\s*,\s*["{\[\d-]')
BEGINNING = 1 << 10  # bytes
# What a file is by its first bytes, whatever it is called.
MAGIC = (
    (b"PAR1", ".parquet"),
    (b"ARROW1", ".arrow"),
    *((magic, ".xlsx") for magic in ZIP),
    (b"\xd0\xcf\x11\xe0", ".xls"),
)


def reader_of(source: Source, readers: Mapping[str, RecordReader]) -> RecordReader:
    """What reads the file; raises Broken where nothing does."""
    head = source.head(BEGINNING)
    if not head.strip():
        raise Broken("empty_file", "holds no rows.", "Name a file with rows.")
    suffix = next((suffix for magic, suffix in MAGIC if head.startswith(magic)), source.suffix)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    is_json = start[:1] in (b"{", b"[")
    if is_json and (suffix not in readers or (suffix in PROSE and JSON_ROWS.match(start))):
        suffix = ".json"
    if suffix not in readers:
        what = f"files of kind `{source.suffix or 'without suffix'}` are not read (known: "
        what += f"{', '.join(readers)}; packed as .gz, .zst, .bz2, .xz or .zip)."
        remedy = "Give the file the suffix of what it is, or write one JSON object per line into a "
        remedy += ".jsonl file."
        raise Broken("unknown_file_kind", what, remedy)
    return readers[suffix]


AUTO = ReadOptions()


def options_of(settings: DataSettings, source: DataSource) -> ReadOptions:
    """The options of a source; its own come before those of all sources."""
    return ReadOptions(
        encoding=source.encoding or settings.encoding,
        delimiter=source.delimiter or settings.delimiter,
        part=source.part or settings.part,
    )


def exists(path: str | Path) -> bool:
    """Whether there is something to read; what the hub holds is seen when it is read."""
    if str(path).startswith(HUB):
        return True
    try:
        return place_of(path).exists()
    except Broken:
        return False


def place_of(path: str | Path) -> Path:
    """Where a file or folder lies here: what is in object storage, where its copy does.

    Raises Broken where it cannot be copied.
    """
    if not remote.is_remote(path):
        return Path(path)
    try:
        return remote.copied(str(path))
    except StorageError as error:
        message = error.message.removeprefix(f"{path}: ")
        raise Broken(error.code, message, error.remedy) from None


def files_of(path: str | Path, options: ReadOptions = AUTO) -> list[Path]:
    """The files that hold the records of ``path``; none for a data set of the hub."""
    if str(path).startswith(HUB):
        return []
    try:
        place = place_of(path)
        if not place.is_dir():
            return [place]
        return data_files(place, suffixes=READERS, part=options.part)[0]
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
        if str(path).startswith(HUB):
            yield from read_hub(str(path), options)
            return
        place = place_of(path)
        if not place.is_dir():
            yield from _of_file(place, options, readers)
            return
        for record in _of_folder(place, options, readers):
            behind = record.file and f"/{Path(record.file).relative_to(place)}"
            yield replace(record, file=behind and in_source(behind, str(path)))
    except Broken as error:
        yield Record(0, None, error.problem)


def _of_folder(
    folder: Path, options: ReadOptions, readers: Mapping[str, RecordReader]
) -> Iterator[Record]:
    files, note = data_files(folder, suffixes=readers, part=options.part)
    yield Record(0, notes=(note,))
    for path in files:
        for record in read_records(path, replace(options, part=None), readers=readers):
            yield replace(record, file=str(path))


def _of_file(
    path: Path, options: ReadOptions, readers: Mapping[str, RecordReader]
) -> Iterator[Record]:
    if not path.exists():
        raise Broken("missing_file", "does not exist.", nearby(path))
    if not path.is_file():
        raise Broken("not_a_file", "is not an ordinary file.", "Write its rows into a file.")
    source = open_source(path, options.part)
    yield from reader_of(source, readers)(source, source.options_inside(options))


def nearby(path: Path) -> str:
    """What may have been meant by the path of a file that is not there."""
    known = path.parent.glob("*") if path.parent.is_dir() else ()
    names = sorted(entry.name for entry in known if entry.suffix in READERS)
    near = nearest(path.name, names)
    where = "beside it" if path.parent == Path() else f"in {path.parent}"
    there = f"Files {where}: {listed(names, 5)}. "
    hint = f"Did you mean {path.parent / near}? " if near else there if names else ""
    remedy = f"{hint}Paths are taken from the working directory."
    is_name = len(path.parts) == 2 and not path.is_absolute() and not path.suffix
    return f"{remedy} A data set of the hub is named hf:{path}." if is_name else remedy


@dataclass(frozen=True, slots=True)
class Size:
    """The most that goes into a chunk; one record may be larger by itself."""

    records: int
    characters: int


SAMPLE = Size(1000, 1 << 24)  # what a format is recognized by
BATCH = Size(256, 1 << 22)


def chunked(records: Iterator[Record], size: Size) -> Iterator[list[Record]]:
    """The records in lists that are not empty; what is not asked for is left in ``records``."""
    chunk: list[Record] = []
    characters = 0
    for record in records:
        chunk.append(record)
        characters += characters_of(record.values)
        if len(chunk) >= size.records or characters >= size.characters:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def characters_of(value: object) -> int:
    """About how many characters a value holds, with all that is inside it, however deep."""
    total, left = 0, [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            total += len(one)
        elif isinstance(one, dict):
            left += one
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
        else:
            total += 8
    return total
