"""Where a source's tokens are kept: the key of all that they depend on, and a proven folder."""

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
from pydantic import TypeAdapter

from tunesmith.core import files, locks
from tunesmith.data.read import Layout, SourceRequest
from tunesmith.data.records import files_of
from tunesmith.data.token_file import Contents, TokenFile, open_tokens
from tunesmith.data.tokenise import Recipe
from tunesmith.data.tokenizer import Tokenizer

_HASHED_AT_ONCE = 1 << 20
_PACKAGES = (
    *("transformers", "tokenizers", "jinja2", "pyarrow", "charset-normalizer"),
    *(["python-calamine"] if find_spec("python_calamine") else []),  # of the extra `sheets`
)
TEXT = "text"  # the format whose documents are cut where they are made
# Of what the code makes of rows. Give it another value (a date will do) with every change after
# which the same file and tokenizer have other tokens, conversations, loss weights or faults: else
# tokens of before are found and trained. `test_tokens_version.py` holds the tokens of fixed rows.
# This first value was a digest of the code, so that caches of then are still found.
TOKENS_VERSION = "c7d64a6b62f28be69a620549b7847d603b8ffeaf3752161320be73207e60e749"


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a source: their SHA-256, how many, and their lines (None: it is no text)."""

    sha256: str
    size: int
    lines: int | None


def content_of(asked: SourceRequest) -> Content | None:
    """What a file, or all data files of a folder, hold now, every byte read.

    None for what is no file. Raises OSError.
    """
    root = Path(asked.file)
    files = files_of(asked.file, asked.options)
    if not files or not all(file.is_file() for file in files):
        return None
    digest, size, lines, is_text = hashlib.sha256(), 0, 0, True
    if root.is_dir():  # other files in it are reported
        names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
        digest.update("\0".join(names).encode(errors="surrogateescape"))
    for path in files:
        digest.update(f"\0{path.stat().st_size}\0".encode())  # where one ends and the next begins
        last = b"\n"
        with path.open("rb") as file:
            while data := file.read(_HASHED_AT_ONCE):
                is_text = is_text and (size > 0 or b"\0" not in data)
                digest.update(data)
                size += len(data)
                lines += data.count(b"\n")
                last = data[-1:]
        lines += last != b"\n"
    one_text = is_text and not root.is_dir()
    return Content(digest.hexdigest(), size, lines if one_text else None)


def key_of(content: Content, asked: SourceRequest, layout: Layout, recipe: Recipe) -> str:
    """The same for the same rows of tokens. The source's name does not count, its kind does."""
    templates = str(getattr(recipe.tokenizer, "chat_template", None))
    return combined(
        {
            "content": content.sha256,
            "kind": Path(asked.file).suffixes[-2:],
            "asked": {**asdict(asked), "file": ""},
            "format": layout.format,
            "rendering": asdict(recipe.rendering),
            "max_tokens": recipe.max_tokens if layout.format == TEXT else None,
            "tokenizer": tokenizer_digest(recipe.tokenizer),
            "code": TOKENS_VERSION,
            "packages": {name: version(name) for name in _PACKAGES},
            "day": time.strftime("%Y-%m-%d") if "strftime_now" in templates else None,
        }
    )


def combined(parts: Mapping[str, object]) -> str:
    """One key for values that JSON can say."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """A key for all that a tokeniser makes of a conversation, its chat template included."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    made = pickle.dumps(tokenizer) if backend is None else backend.to_str().encode()
    templates = getattr(tokenizer, "chat_template", None)
    words = json.dumps([templates, dict(tokenizer.special_tokens_map)], sort_keys=True, default=str)
    return _digest((type(tokenizer).__qualname__.encode(), made, words.encode()))


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


ROWS, CONVERSATIONS, CONTENTS = "rows.arrow", "conversations.arrow", "contents.json"
MAX_BYTES = 20_000_000_000  # of all folders; what was used longest ago goes, the newest stays
_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True)
class _Written:
    """The third file of a folder: what is known of the other two, and their checksums."""

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
    """Remove what is over MAX_BYTES, and what killed processes left; never ``keep``."""
    for left in root.glob(f"{files.TEMPORARY}*"):
        folder = root / left.name.removeprefix(files.OLD).removeprefix(files.TEMPORARY)
        with contextlib.suppress(_Busy), locks.held(lock_of(folder), taken=_refuse):
            shutil.rmtree(left, ignore_errors=True)
    entries = sorted((_used(entry), entry) for entry in root.iterdir() if entry.is_dir())
    total = sum(map(_size, (entry for _, entry in entries)))
    for _, entry in entries:
        if total > MAX_BYTES and entry != keep:
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
