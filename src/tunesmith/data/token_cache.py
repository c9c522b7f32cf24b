"""A source is tokenised once: its tokens are kept, and found again by all that they depend on."""

import errno
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from tunesmith import files, locks
from tunesmith.counts import many
from tunesmith.data import token_store
from tunesmith.data.chunks import BATCH, chunked
from tunesmith.data.read import Asked, open_records
from tunesmith.data.source_key import Content, content_of, key_of
from tunesmith.data.token_file import Contents, TokenFile, TokenWriter, open_tokens
from tunesmith.data.tokenizer import Tokenizer
from tunesmith.data.workers import tokenised
from tunesmith.errors import DataError

MOST_BYTES_IN_MEMORY = 512_000_000
_REFUSALS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR}
_REFUSALS |= {errno.EEXIST, errno.ENAMETOOLONG, errno.EFBIG, errno.EIO}


@dataclass(frozen=True, slots=True)
class Work:
    """How sources are tokenised, and who hears of it.

    ``root`` holds a folder for each; to empty the cache, delete it. ``watch`` is told a file, the
    line that was reached and how many there are (None: unknown), and may raise to stop; ``tell``
    a code and a message of what was decided.
    """

    root: Path
    processes: int
    watch: Callable[[str, int, int | None], object]
    tell: Callable[[str, str], object]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A source's tokens, and the key they are found by; None where they are in memory only."""

    file: TokenFile
    key: str | None


def tokens_of(asked: Asked, tokenizer: Tokenizer, work: Work) -> Tokens:
    """The tokens of a source, from the cache or made now.

    Raises DataError where the source changes meanwhile, and where neither cache nor memory has
    room.
    """
    try:
        content = content_of(Path(asked.file))
    except OSError:
        content = None
    if content is None:  # whatever is the matter, reading it tells
        return Tokens(_in_memory(asked, tokenizer, work, Content("", 0, None)), None)
    key = key_of(content, asked, tokenizer)
    try:
        folder = work.root / key
        tokens = _found(folder, asked, work) or _made(folder, asked, tokenizer, work, content)
        return Tokens(tokens, key)
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        reason = f"the cache {work.root} cannot be written ({error.strerror})"
    again = "they are kept in memory, and made again next time"
    work.tell("not_cached", f"{asked.file}: {reason}; its tokens are not kept: {again}")
    return Tokens(_in_memory(asked, tokenizer, work, content, reason), None)


def _found(folder: Path, asked: Asked, work: Work) -> TokenFile | None:
    """The tokens in the cache; None, and why, where there are none that can be used."""
    try:
        tokens = token_store.open_folder(folder, source=asked.file)
    except token_store.Damaged as error:
        what = f"{asked.file}: its tokens in the cache are damaged ({error}) and made again"
        work.tell("cache_damaged", what)
        return None
    if tokens is not None:
        count = many(tokens.contents.records, "row")
        work.tell("cached", f"{asked.file}: the tokens of its {count} are in the cache")
    return tokens


def _made(
    folder: Path, asked: Asked, tokenizer: Tokenizer, work: Work, content: Content
) -> TokenFile:
    """The tokens made now, or by another process that is making them already."""
    others = False

    def wait() -> None:
        nonlocal others
        others = True
        work.tell("waiting", f"Another process is tokenising {asked.file}; waiting for it.")

    def fill(into: Path) -> None:
        token_store.write(into, lambda *sinks: _write(asked, tokenizer, work, content, sinks))
        if content_of(Path(asked.file)) != content:
            raise DataError(
                f"{asked.file}: changed while it was read.",
                remedy="Run it again once nothing writes to it any more.",
                code="changed",
            )

    work.root.mkdir(parents=True, exist_ok=True)
    with locks.held(token_store.lock_of(folder), taken=wait):
        tokens = _found(folder, asked, work) if others else None
        if tokens is None:
            _require_space(work.root, content)
            files.replace_folder(folder, fill)
            tokens = token_store.open_folder(folder, source=asked.file)
    assert tokens is not None
    if any(fault.code == "unreadable_file" for fault in tokens.contents.faults.listed):
        shutil.rmtree(folder, ignore_errors=True)  # it may be read another time
    token_store.sweep(work.root, keep=folder)
    return tokens


def _require_space(root: Path, content: Content) -> None:
    """Raise OSError at once where there will be no room in the end."""
    if shutil.disk_usage(root).free < 2 * content.size:
        raise OSError(errno.ENOSPC, "No space left on device")


def _write(
    asked: Asked,
    tokenizer: Tokenizer,
    work: Work,
    content: Content,
    sinks: tuple[pa.NativeFile, ...],
) -> Contents:
    """Write a source's rows to the sinks, its own name left out of them."""
    layout, faults, records = open_records(asked)
    writer = TokenWriter(*sinks)
    writer.add([replace(f, file=f.file.removeprefix(asked.file)) for f in faults])
    made = tokenised(
        chunked(records, BATCH),
        tokenizer,
        replace(layout, file=""),
        processes=work.processes,
        tell=lambda message: work.tell("one_process", message),
    )
    with closing(made):
        for some in made:
            writer.write(some)
            work.watch(asked.file, some.last_line, content.lines)
    return writer.close(layout.format)


def _in_memory(
    asked: Asked, tokenizer: Tokenizer, work: Work, content: Content, reason: str = ""
) -> TokenFile:
    """The tokens made now and kept in memory; raises DataError where they are too many."""
    sinks = pa.BufferOutputStream(), pa.BufferOutputStream()

    def watch(file: str, line: int, lines: int | None) -> None:
        work.watch(file, line, lines)
        if sum(sink.tell() for sink in sinks) > MOST_BYTES_IN_MEMORY:
            raise DataError(
                f"{file}: its tokens take more than {MOST_BYTES_IN_MEMORY / 1e6:,.0f} MB, too much "
                f"to keep in memory, and {reason}.",
                remedy="Set TUNESMITH_HOME to a folder with room that you may write to.",
                code="disk",
            )

    contents = _write(asked, tokenizer, replace(work, watch=watch), content, sinks)
    rows, conversations = (pa.BufferReader(sink.getvalue()) for sink in sinks)
    return open_tokens(rows, conversations, contents, source=asked.file)
