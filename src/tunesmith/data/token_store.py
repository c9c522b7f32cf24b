"""The tokens of a source in a folder: Arrow files, written as a stream and read by mapping them.

One file of rows, not compressed, so that its arrays are used where they lie, and one of
conversations, compressed. Both are made of batches, so that nobody holds a whole one in memory.
"""

import contextlib
import os
import shutil
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import TypeAdapter

from tunesmith.core import files, locks
from tunesmith.data.dataset import PER_ROW, Dataset, TokenBlock, dataset_of
from tunesmith.data.faults import Fault, Faults, Note, RowReport
from tunesmith.data.read import Layout
from tunesmith.data.rows import Conversation, in_source, restored
from tunesmith.data.tokenize import TokenChunk


class Conversations:
    """The conversations of a source in their order; ``counts`` is how many each batch holds."""

    def __init__(
        self, reader: pa.ipc.RecordBatchFileReader, counts: Sequence[int], source: str
    ) -> None:
        self._reader, self._source = reader, source
        self._stops = list(accumulate(counts))
        self._open: tuple[int, pa.Array] | None = None

    def __len__(self) -> int:
        return self._stops[-1] if self._stops else 0

    def __getitem__(self, i: int) -> Conversation:
        """Conversation ``i``, of 0 to the length; neighbours come from memory."""
        batch = bisect_right(self._stops, i)
        if self._open is None or self._open[0] != batch:
            self._open = batch, self._reader.get_batch(batch).column(0)
        first = self._stops[batch - 1] if batch else 0
        return restored(self._open[1][i - first].as_py(), source=self._source)

    def __iter__(self) -> Iterator[Conversation]:
        return (self[i] for i in range(len(self)))


class ConversationSubset(Sequence[Conversation]):
    """Some of the conversations of several sources, numbered through all of them."""

    def __init__(self, sources: Sequence[Conversations], numbers: NDArray[np.int64]) -> None:
        self._sources, self._numbers = sources, numbers
        self._stops = list(accumulate(map(len, sources)))

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, i: int) -> Conversation: ...
    @overload
    def __getitem__(self, i: slice) -> "ConversationSubset": ...
    def __getitem__(self, i: int | slice) -> "Conversation | ConversationSubset":
        if isinstance(i, slice):
            return ConversationSubset(self._sources, self._numbers[i])
        number = int(self._numbers[i])
        source = bisect_right(self._stops, number)
        return self._sources[source][number - (self._stops[source - 1] if source else 0)]


TOKENS_AT_ONCE = 1 << 20
_SPAN = pa.struct([("start", pa.int64()), ("stop", pa.int64()), ("weight", pa.float32())])
_COLUMNS = tuple(name for name in PER_ROW if name != "lengths")
_ROWS = pa.schema(
    [
        ("ids", pa.list_(pa.int32())),
        ("spans", pa.list_(_SPAN)),  # in tokens of the batch
        *((name, pa.int64()) for name in _COLUMNS),
    ]
)
_CONVERSATIONS = pa.schema([("conversation", pa.binary())])
_PACKED = pa.ipc.IpcWriteOptions(compression="zstd")


@dataclass(frozen=True, slots=True)
class Contents:
    """What is known of a file besides its rows: sizes, faults, and what was noticed.

    ``reason`` is what was seen of the format. ``files`` are names behind the source's own,
    ``records`` counts sound and faulty rows, ``conversations`` how many of them each batch holds.
    """

    format: str | None
    reason: str
    files: tuple[str, ...]
    records: int
    conversations: tuple[int, ...]
    faults: Faults
    notes: tuple[Note, ...]

    def at(self, source: str) -> "Contents":
        """The same with the source's name in front of its files."""
        listed = tuple(replace(f, file=in_source(f.file, source)) for f in self.faults.listed)
        files = tuple(in_source(file, source) for file in self.files)
        return replace(self, files=files, faults=Faults(listed, self.faults.unlisted))


@dataclass(frozen=True, slots=True, eq=False)
class TokenFile:
    """A source that was tokenized: what is known of it, its rows, their conversations.

    ``key`` is what they are found by in the cache; None where they are not kept.
    """

    contents: Contents
    rows: Dataset
    conversations: Conversations
    key: str | None = None


class TokenWriter:
    """Writes what chunks became to two sinks, in batches of about TOKENS_AT_ONCE."""

    def __init__(self, rows: pa.NativeFile, conversations: pa.NativeFile) -> None:
        self._rows = pa.ipc.new_file(rows, _ROWS)
        self._conversations = pa.ipc.new_file(conversations, _CONVERSATIONS, options=_PACKED)
        self._waiting: list[TokenChunk] = []
        self._waiting_tokens = self._records = 0
        self._counts: list[int] = []
        self._files: dict[str, int] = {}
        self._report = RowReport()

    def add(self, faults: Sequence[Fault]) -> None:
        """Faults of the whole source."""
        self._report.add_faults(faults)

    def write(self, tokenized: TokenChunk) -> None:
        """The next chunk."""
        self._records += tokenized.records
        self._report.merge(tokenized.faults, tokenized.notes)
        for file in tokenized.files:
            self._files.setdefault(file, len(self._files))
        self._waiting.append(tokenized)
        self._waiting_tokens += len(tokenized.block.ids)
        if self._waiting_tokens >= TOKENS_AT_ONCE:
            self._flush()

    def close(self, layout: Layout) -> Contents:
        """Write the rest and the ends of both; what is known of the source comes back."""
        if self._waiting:
            self._flush()
        self._rows.close()
        self._conversations.close()
        seen = layout.format, layout.reason, tuple(self._files), self._records
        return Contents(*seen, tuple(self._counts), self._report.faults, self._report.notes)

    def _flush(self) -> None:
        said = [data for each in self._waiting for data in each.conversations]
        blocks = list(self._numbered(sum(self._counts)))
        columns = [*_lists(blocks), *(_array(_joined(blocks, name)) for name in _COLUMNS)]
        self._rows.write_batch(pa.record_batch(columns, schema=_ROWS))
        ends = np.cumsum([0, *map(len, said)], dtype=np.int32)
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(said))]
        texts = pa.Array.from_buffers(pa.binary(), len(said), buffers)
        self._conversations.write_batch(pa.record_batch([texts], schema=_CONVERSATIONS))
        self._counts.append(len(said))
        self._waiting, self._waiting_tokens = [], 0

    def _numbered(self, before: int) -> Iterator[TokenBlock]:
        """Blocks whose conversations and files are numbered through the whole source."""
        for each in self._waiting:
            files = np.array([self._files[file] for file in each.files], dtype=np.int64)
            block = each.block
            yield replace(block, owners=block.owners + before, file_of=files[block.file_of])
            before += len(each.conversations)


def _joined(blocks: Sequence[TokenBlock], name: str) -> NDArray[np.generic]:
    return np.concatenate([getattr(block, name) for block in blocks])


def _lists(blocks: Sequence[TokenBlock]) -> Iterator[pa.ListArray]:
    """The ids of each row, and its spans."""
    before = np.cumsum([0, *(len(block.ids) for block in blocks)])
    starts, stops = (
        np.concatenate([getattr(block, name) + before[i] for i, block in enumerate(blocks)])
        for name in ("starts", "stops")
    )
    begins = np.concatenate([[0], np.cumsum(_joined(blocks, "lengths"))])
    yield _list(begins, _array(_joined(blocks, "ids")))
    values = [_array(starts), _array(stops), _array(_joined(blocks, "span_weights"))]
    spans = pa.StructArray.from_arrays(values, fields=list(_SPAN))
    yield _list(np.searchsorted(starts, begins), spans)


# From buffers: what takes any Python object imports pandas, where there is one, to look at it.
def _array(values: NDArray[np.generic]) -> pa.Array:
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _list(offsets: NDArray[np.integer], values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(_array(offsets.astype(np.int32)), values)


def open_tokens(
    rows: pa.NativeFile, conversations: pa.NativeFile, contents: Contents, *, source: str
) -> TokenFile:
    """What was written, its arrays where they lie; ValueError or OSError where it is damaged."""
    reader = pa.ipc.open_file(rows)
    blocks = [_block(reader.get_batch(i)) for i in range(reader.num_record_batches)]
    here = contents.at(source)
    said = Conversations(pa.ipc.open_file(conversations), contents.conversations, source)
    return TokenFile(here, dataset_of(blocks, here.files), said)


def _block(batch: pa.RecordBatch) -> TokenBlock:
    ids, spans = batch.column("ids"), batch.column("spans").values
    return TokenBlock(
        ids=ids.values.to_numpy(),
        starts=spans.field("start").to_numpy(),
        stops=spans.field("stop").to_numpy(),
        span_weights=spans.field("weight").to_numpy(),
        lengths=np.diff(ids.offsets.to_numpy()).astype(np.int64),
        **{name: batch.column(name).to_numpy() for name in _COLUMNS},
    )


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
    written = _WRITTEN.dump_json(_Written(contents, _checksums(folder, contents)))
    (folder / CONTENTS).write_bytes(written)


def open_folder(folder: Path, *, source: str) -> TokenFile | None:
    """What was written, its rows mapped; None where there is nothing. Raises Damaged, OSError."""
    try:
        written = _WRITTEN.validate_json((folder / CONTENTS).read_bytes())
        found = _checksums(folder, written.contents)
        if changed := [name for name in found if found[name] != written.checksums.get(name)]:
            raise Damaged(f"{', '.join(changed)} changed")
        rows, said = pa.memory_map(str(folder / ROWS)), pa.OSFile(str(folder / CONVERSATIONS))
        tokens = open_tokens(rows, said, written.contents, source=source)
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
    """The lock of whoever writes the folder, half made or not; a few folders share one."""
    name = folder.name.removeprefix(files.OLD).removeprefix(files.TEMPORARY)
    return folder.parent / f".{name[:2]}.lock"


def sweep(root: Path, *, keep: Path) -> None:
    """Remove what is over MAX_BYTES, and what killed processes left; never ``keep``."""
    for left in root.glob(f"{files.TEMPORARY}*"):
        with contextlib.suppress(OSError), locks.held(lock_of(left), taken=_refuse):
            shutil.rmtree(left, ignore_errors=True)
    whole = (each for each in root.iterdir() if not each.name.startswith(files.TEMPORARY))
    entries = sorted((*_used(entry), entry) for entry in whole if entry.is_dir())
    total = sum(size for _, size, _ in entries)
    for _, size, entry in entries:
        if total > MAX_BYTES and entry != keep:
            total -= size
            gone = entry.with_name(f"{files.OLD}{entry.name}")
            with contextlib.suppress(OSError):  # in use (Windows), or another process was faster
                entry.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)


def _refuse() -> None:
    raise BlockingIOError


def _used(entry: Path) -> tuple[float, int]:
    """When a folder was last used, and its bytes; 0 where another process removes it now."""
    with contextlib.suppress(OSError):
        size = sum(path.stat().st_size for path in entry.iterdir())
        contents = entry / CONTENTS
        return contents.stat().st_mtime if contents.exists() else 0.0, size
    return 0.0, 0


def _checksums(folder: Path, contents: Contents) -> dict[str, int]:
    sums = {CONTENTS: zlib.crc32(repr(contents).encode())}
    for name in (ROWS, CONVERSATIONS):
        sums[name] = 0
        with (folder / name).open("rb") as file:
            while data := file.read(_AT_ONCE):
                sums[name] = zlib.crc32(data, sums[name])
    return sums
