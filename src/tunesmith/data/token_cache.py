"""A source is tokenized once: its tokens are kept, and found again by all that they depend on."""

import errno
import hashlib
import json
import pickle
import secrets
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from tunesmith.core import files, locks
from tunesmith.core.errors import DataError
from tunesmith.core.extras import version_of
from tunesmith.core.numbers import pluralize
from tunesmith.core.progress import Progress
from tunesmith.core.workers import Lost, NotStarted, Pool
from tunesmith.data import token_store
from tunesmith.data.faults import Fault
from tunesmith.data.read import Layout, SourceRequest, open_records
from tunesmith.data.records import BATCH, chunked, files_of, place_of
from tunesmith.data.rows import Record, behind_source
from tunesmith.data.token_store import Contents, TokenFile, TokenWriter
from tunesmith.data.tokenize import Recipe, TokenChunk, worker_of
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
TOKENS_VERSION = "2026-12-01"


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
    files = files_of(asked.file, asked.options)
    if not files or not all(file.is_file() for file in files):
        return None
    root = place_of(asked.file)
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
            "asked": _asked(asked),
            "format": layout.format,
            "rendering": asdict(recipe.rendering),
            "max_tokens": recipe.max_tokens if layout.format == TEXT else None,
            "tokenizer": tokenizer_digest(recipe.tokenizer),
            "code": TOKENS_VERSION,
            "packages": {name: version_of(name) for name in _PACKAGES},
            "day": time.strftime("%Y-%m-%d") if "strftime_now" in templates else None,
        }
    )


def _asked(asked: SourceRequest) -> dict[str, object]:
    """What was asked of a source; newer keys only where they are set, so that older caches hit."""
    values = {**asdict(asked), "file": ""}
    newer = ("drop_empty", "system")
    return {name: value for name, value in values.items() if value or name not in newer}


def combined(parts: Mapping[str, object]) -> str:
    """One key for values that JSON can say."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


def tokenizer_digest(tokenizer: Tokenizer) -> str:
    """A key for all that a tokenizer makes of a conversation, its chat template included."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    made = pickle.dumps(tokenizer) if backend is None else backend.to_str().encode()
    templates = getattr(tokenizer, "chat_template", None)
    words = json.dumps([templates, dict(tokenizer.special_tokens_map)], sort_keys=True, default=str)
    digest = hashlib.sha256()
    for part in (type(tokenizer).__qualname__.encode(), made, words.encode()):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


CHUNKS_HERE = 16  # a few chunks are done before a process is ready
# One process reads for all of them, and no more can be fed; each holds about 100 MB.
MAX_PROCESSES = 6
WORKER = f"{worker_of.__module__}:{worker_of.__name__}"
_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR}
_REFUSALS |= {errno.EEXIST, errno.ENAMETOOLONG, errno.EFBIG}
# What may be another way when the source is read again.
_PASSING = {"unreadable_file", "hub"}


@dataclass(frozen=True, slots=True)
class Work:
    """Where sources are tokenized, and who hears of it.

    ``root`` holds a folder for each; to empty the cache, delete it.
    """

    root: Path
    progress: Progress


@dataclass(frozen=True, slots=True)
class _Source:
    """A source that was opened: its records, and what is known of it before they are read."""

    asked: SourceRequest
    recipe: Recipe
    layout: Layout
    faults: tuple[Fault, ...]
    records: Iterator[Record]
    content: Content | None


def tokens_of(asked: SourceRequest, recipe: Recipe, work: Work) -> TokenFile:
    """The tokens of a source, from the cache or made now.

    Raises DataError where the source changes meanwhile, and where there is no room.
    """
    try:
        content = content_of(asked)
    except OSError:  # whatever is the matter, reading it tells
        content = None
    source = _Source(asked, recipe, *open_records(asked), content)
    try:
        if content is None:
            return _made_for_now(source, work)
        key = key_of(content, asked, source.layout, recipe)
        folder = work.root / key
        return replace(_found(folder, source, work) or _made(folder, source, work), key=key)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        reason = f"the cache {work.root} cannot be written ({error.strerror})"
    again = "they are kept for now, and made again next time"
    work.progress.notice("not_cached", f"{asked.file}: {reason}; its tokens are not kept: {again}")
    reopened = replace(source, records=open_records(asked)[2])  # some may have been read already
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as elsewhere:
            return _made_for_now(reopened, replace(work, root=Path(elsewhere)))
    except OSError as error:
        what = f"{asked.file}: there is no room for its tokens: {reason}, nor is there any for "
        what += f"temporary files ({error.strerror})."
        remedy = "Set TUNESMITH_HOME to a folder with room that you may write to."
        raise DataError(what, remedy=remedy, code="disk") from None


def _found(folder: Path, source: _Source, work: Work) -> TokenFile | None:
    """The tokens in the cache; None, and why, where there are none that can be used."""
    file = source.asked.file
    try:
        tokens = token_store.open_folder(folder, source=file)
    except token_store.Damaged as error:
        what = f"{file}: its tokens in the cache are damaged ({error}) and made again"
        work.progress.notice("cache_damaged", what)
        return None
    if tokens is not None:
        count = pluralize(tokens.contents.records, "row")
        work.progress.notice("cached", f"{file}: the tokens of its {count} are in the cache")
    return tokens


def _made(folder: Path, source: _Source, work: Work) -> TokenFile:
    """The tokens made now, or by another process that is making them already."""
    others = False

    def wait() -> None:
        nonlocal others
        others = True
        work.progress.notice(
            "waiting", f"another process is tokenizing {source.asked.file}; waiting for it"
        )

    def fill(into: Path) -> None:
        token_store.write(into, lambda *sinks: _write(source, work, sinks))
        if content_of(source.asked) != source.content:
            what = f"{source.asked.file}: changed while it was read."
            remedy = "Run it again once nothing writes to it any more."
            raise DataError(what, remedy=remedy, code="changed")

    work.root.mkdir(parents=True, exist_ok=True)
    with locks.held(token_store.lock_of(folder), taken=wait):
        tokens = _found(folder, source, work) if others else None
        if tokens is None:
            size = source.content.size if source.content else 0
            if shutil.disk_usage(work.root).free < 2 * size:
                raise OSError(errno.ENOSPC, "No space left on device")
            files.replace_folder(folder, fill)
            tokens = token_store.open_folder(folder, source=source.asked.file)
    assert tokens is not None
    if _PASSING & {fault.code for fault in tokens.contents.faults.listed}:
        shutil.rmtree(folder, ignore_errors=True)
    token_store.sweep(work.root, keep=folder)
    return tokens


def _made_for_now(source: _Source, work: Work) -> TokenFile:
    """The tokens of what has no bytes to know it by, in a folder that is gone at once."""
    work.root.mkdir(parents=True, exist_ok=True)
    folder = work.root / f"{files.TEMPORARY}{secrets.token_hex(20)}"
    with locks.held(token_store.lock_of(folder), taken=lambda: None):
        try:
            folder.mkdir()
            token_store.write(folder, lambda *sinks: _write(source, work, sinks))
            tokens = token_store.open_folder(folder, source=source.asked.file)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    assert tokens is not None
    return tokens


def _write(source: _Source, work: Work, sinks: tuple[pa.NativeFile, ...]) -> Contents:
    """Write the rows of a source to the sinks, its own name left out of them."""
    name = source.asked.file

    def unnamed(record: Record) -> Record:
        if record.file is None:
            return record
        return replace(record, file=behind_source(record.file, name))

    writer = TokenWriter(*sinks)
    writer.add([replace(fault, file=behind_source(fault.file, name)) for fault in source.faults])
    made = _tokenized(
        chunked(map(unnamed, source.records), BATCH),
        source.recipe,
        replace(source.layout, file=""),
        progress=work.progress,
    )
    lines = None if source.content is None else source.content.lines
    phase = work.progress.quiet_phase(f"tokenizing {name}", lines)
    with closing(made):
        for some in made:
            writer.write(some)
            phase.at(some.last_line)
    return writer.close(source.layout)


def _tokenized(
    chunks: Iterator[list[Record]], recipe: Recipe, layout: Layout, *, progress: Progress
) -> Generator[TokenChunk]:
    """What the chunks become, in their order; beyond the first in several processes.

    It is noticed where that is one after all. Raises DataError where one of several dies.
    """
    here = worker_of(recipe, layout)
    yield from map(here, islice(chunks, CHUNKS_HERE))
    first = next(chunks, None)
    if first is None:
        return
    count, chunks = min(progress.processes, MAX_PROCESSES), chain([first], chunks)
    with ExitStack() as running:
        done: Iterator[TokenChunk] = map(here, chunks)
        if count > 1:
            pool = Pool[list[Record], TokenChunk](WORKER, (recipe, layout), count, _raise_lost)
            try:
                running.enter_context(pool)
                done = pool.map(chunks, here=here)
            except NotStarted as error:
                progress.notice("one_process", f"rows are tokenized in one process. {error}")
        yield from done


def _raise_lost(lost: Lost) -> NoReturn:
    what = f"A process that tokenized rows ended before its work was done ({lost.why})."
    remedy = "If memory was short, try again with --train.threads 1."
    raise DataError(what, remedy=remedy, code="worker")
