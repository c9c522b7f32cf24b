"""The tokens of a source in a folder: complete or absent, proven whole when it is opened."""

import contextlib
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pydantic import TypeAdapter

from tunesmith import files, locks
from tunesmith.data.token_file import Contents, TokenFile, open_tokens

ROWS, CONVERSATIONS, CONTENTS = "rows.arrow", "conversations.arrow", "contents.json"
MOST_BYTES = 20_000_000_000  # of all folders; what was used longest ago goes, the newest stays
_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class _Written:
    """What stands in a folder beside the two files: what is known of them, and their checksums."""

    contents: Contents
    checksums: dict[str, int]


_WRITTEN = TypeAdapter(_Written)


class Damaged(Exception):
    """A folder that does not hold what was written."""


def write(folder: Path, fill: Callable[[pa.NativeFile, pa.NativeFile], Contents]) -> None:
    """Fill a new folder; ``fill`` writes to sinks of rows and of conversations. Raises OSError."""
    with (
        pa.OSFile(str(folder / ROWS), "wb") as rows,
        pa.OSFile(str(folder / CONVERSATIONS), "wb") as conversations,
    ):
        contents = fill(rows, conversations)
    checksums = {name: _checksum(folder / name) for name in (ROWS, CONVERSATIONS)}
    checksums[CONTENTS] = zlib.crc32(repr(contents).encode())
    written = _WRITTEN.dump_json(_Written(contents, checksums))
    (folder / CONTENTS).write_bytes(written)


def open_folder(folder: Path, *, source: str) -> TokenFile | None:
    """What was written, its rows mapped; None where there is nothing. Raises Damaged, OSError."""
    try:
        written = _WRITTEN.validate_json((folder / CONTENTS).read_bytes())
        found = {name: _checksum(folder / name) for name in (ROWS, CONVERSATIONS)}
        found[CONTENTS] = zlib.crc32(repr(written.contents).encode())
        if found != written.checksums:
            changed = [
                name for name, value in found.items() if value != written.checksums.get(name)
            ]
            raise Damaged(f"{', '.join(changed)} changed")
        rows, conversations = (
            pa.memory_map(str(folder / ROWS)),
            pa.OSFile(str(folder / CONVERSATIONS)),
        )
        tokens = open_tokens(rows, conversations, written.contents, source=source)
    except FileNotFoundError:
        if folder.is_dir():
            raise Damaged("a file is missing") from None
        return None
    except ValueError as error:  # of pydantic and pyarrow both
        raise Damaged(str(error).partition("\n")[0]) from None
    with contextlib.suppress(OSError):  # a cache that may only be read
        os.utime(folder / CONTENTS)
    return tokens


def remembered(folder: Path, name: str) -> str | None:
    """The text that was kept in a folder under ``name``; None where there is no such text."""
    try:
        checksum, text = (folder / f"{name}.txt").read_text(encoding="utf-8").split("\n", 1)
    except (OSError, ValueError):
        return None
    return text if checksum == str(zlib.crc32(text.encode())) else None


def remember(folder: Path, name: str, text: str) -> None:
    """Keep a text with the tokens of a folder that it follows from, if they are kept."""
    with contextlib.suppress(OSError):  # only time is lost
        if folder.is_dir():
            line = f"{zlib.crc32(text.encode())}\n"
            files.replace_text(folder / f"{name}.txt", line + text)


def lock_of(folder: Path) -> Path:
    """The lock of whoever writes the folder; a few folders share one."""
    return folder.parent / f".{folder.name[:2]}.lock"


def sweep(root: Path, *, keep: Path) -> None:
    """Remove what is over MOST_BYTES, and what killed processes left; never ``keep``."""
    for left in root.glob(f"{files.TEMPORARY}*"):
        folder = root / left.name.removeprefix(files.OLD).removeprefix(files.TEMPORARY)
        with contextlib.suppress(_Busy), locks.held(lock_of(folder), taken=_refuse):
            shutil.rmtree(left, ignore_errors=True)
    entries = sorted((_used(entry), entry) for entry in root.iterdir() if entry.is_dir())
    total = sum(map(_size, (entry for _, entry in entries)))
    for _, entry in entries:
        if total > MOST_BYTES and entry != keep:
            total -= _size(entry)
            gone = entry.with_name(f"{files.OLD}{entry.name}")
            with contextlib.suppress(OSError):  # in use (Windows), or another process was faster
                entry.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)


class _Busy(Exception):
    pass


def _refuse() -> None:
    raise _Busy


def _used(entry: Path) -> float:
    with contextlib.suppress(OSError):
        return (entry / CONTENTS).stat().st_mtime
    return 0.0


def _size(entry: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in entry.iterdir())
    return 0


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while data := file.read(_AT_ONCE):
            value = zlib.crc32(data, value)
    return value
