"""Which bytes a file holds once it is unpacked: gzip, zstd, bzip2, xz, or a zip of one file."""

import bz2
import gzip
import lzma
import re
import shlex
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from tunesmith.core.encodings import HEAD_BYTES
from tunesmith.core.numbers import pluralize
from tunesmith.core.phrases import listed
from tunesmith.data.faults import Fault, Note
from tunesmith.data.rows import ReadOptions

ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # with files, and without any
# What unpacks to more than this, and to so many times its size, was made to fill a disk.
FREE_BYTES, MAX_RATIO = 256 << 20, 200
FAILURES: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, RuntimeError, MemoryError)
FAILURES += (zlib.error, lzma.LZMAError, zipfile.BadZipFile)
REMEDY = "Get or make the file again: it was cut or changed on its way."
Layer = Callable[[BinaryIO], BinaryIO]


class Broken(Exception):
    """Bytes that cannot be read; ``problem`` says why."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.problem = Fault(code, message, remedy)


class Guarded:
    """A stream whose failures are Broken, and which stops before it fills memory or disk."""

    def __init__(self, inner: BinaryIO, *, packed_bytes: int | None) -> None:
        self._inner, self._count = inner, 0
        self._most = None if packed_bytes is None else max(FREE_BYTES, MAX_RATIO * packed_bytes)

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, none at the end; raises Broken."""
        try:
            data = self._inner.read(size)
        except FAILURES as error:
            raise damaged(error) from None
        self._count += len(data)
        if self._most is not None and self._count > self._most:
            what = f"unpacks to more than {self._most >> 20:,} MB, {MAX_RATIO} times its size."
            remedy = "Unpack it yourself if it is meant to be so."
            raise Broken("unpacks_too_large", what, remedy)
        return data


@dataclass(frozen=True, slots=True)
class Source:
    """A data file: its ``path``, the ``suffix`` of what is inside, the ``layers`` around that, and
    which ``member`` of an archive it is.
    """

    path: Path
    suffix: str
    layers: tuple[Layer, ...] = ()
    member: str | None = None

    def options_inside(self, options: ReadOptions) -> ReadOptions:
        """Those of the reader: a part that named the member names nothing inside it."""
        named = options.part is not None and options.part == self.member
        return replace(options, part=None) if named else options

    @contextmanager
    def open(self) -> Iterator[Guarded]:
        """The unpacked bytes from the start; raises Broken."""
        with ExitStack() as stack:
            try:
                stream: BinaryIO = stack.enter_context(self.path.open("rb"))
                packed_bytes = self.path.stat().st_size if self.layers else None
                for layer in self.layers:
                    stream = stack.enter_context(layer(stream))
            except FAILURES as error:
                raise damaged(error) from None
            yield Guarded(stream, packed_bytes=packed_bytes)

    def head(self, size: int = HEAD_BYTES) -> bytes:
        """The first bytes, as many as there are up to ``size``; raises Broken."""
        with self.open() as stream:
            found = b""
            while len(found) < size and (more := stream.read(size - len(found))):
                found += more
        return found

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """A file with the unpacked bytes, for readers that jump about in it; raises Broken."""
        if not self.layers:
            yield self.path
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"unpacked{self.suffix}"
            with path.open("wb") as copy, self.open() as stream:
                shutil.copyfileobj(stream, copy)
            yield path


def open_source(path: Path, part: str | None) -> Source:
    """The file at ``path``, unpacked where it is packed; raises Broken."""
    source = Source(path, path.suffix.lower())
    head = source.head(262)
    for magic, suffix, layer in PACKED:
        if magic.match(head):
            inner = PurePosixPath(path.name.lower().removesuffix(suffix)).suffix
            source = Source(path, inner, (layer,))
            head = source.head(262)
            break
        if source.suffix == suffix and head:
            what = f"ends in {suffix} and is not packed so."
            raise Broken("broken_file", what, "Give it the suffix of what it is.")
    if head[257:262] == b"ustar":
        what, remedy = "is a tar archive.", "Unpack it, and name the folder."
        raise Broken("unknown_file_kind", what, remedy)
    return _member_of(source, part) if head.startswith(ZIP) else source


def _member_of(source: Source, part: str | None) -> Source:
    """The one data file of an archive; the source itself for a workbook, which is a zip as well."""
    with source.on_disk() as path:
        try:
            with zipfile.ZipFile(path) as archive:
                entries = {entry.filename: entry for entry in archive.infolist()}
        except FAILURES as error:
            raise damaged(error) from None
    if {"mimetype", "[Content_Types].xml"} & entries.keys():
        return source
    if source.layers:
        what, remedy = "is an archive inside another.", "Unpack it, and name what is inside."
        raise Broken("unknown_file_kind", what, remedy)
    own = [name for name in entries if not name.startswith("__MACOSX/")]
    files = [n for n in own if n[-1:] != "/" and PurePosixPath(n).name[:1] != "."]
    name = _chosen(files, part)
    if entries[name].flag_bits & 1:
        what, remedy = f"its member {name} is encrypted.", "Unpack it with its password."
        raise Broken("encrypted", what, remedy)

    def layer(stream: BinaryIO) -> BinaryIO:
        return cast("BinaryIO", zipfile.ZipFile(stream).open(name))

    suffix = PurePosixPath(name).suffix.lower()
    return replace(source, suffix=suffix, layers=(layer,), member=name)


def _chosen(names: list[str], part: str | None) -> str:
    """The member to read: the one that was asked for, or the only one."""
    if part in names:
        return part
    if not names:
        raise Broken("empty_file", "is an archive without files.", "Name another file.")
    if len(names) > 1:
        several = f"is an archive of {pluralize(len(names), 'file')}"
        raise Broken(*wrong_part(names, part, noun="member", several=several))
    return names[0]


def wrong_part(
    names: Sequence[str], part: str | None, *, noun: str, several: str, first: str = ""
) -> tuple[str, str, str]:
    """Code, message and remedy where a file has ``several`` parts, and none of them is ``part``."""
    shown = listed(names)
    if part is not None:
        what = f"has no {noun} `{part}` (found: {shown})."
        return "unknown_part", what, "Name one of them with --data.part."
    remedy = f"Say which, for example --data.part {shlex.quote(first or names[0])}."
    return "several_parts", f"{several}: {shown}.", remedy


def unused(options: ReadOptions, *names: str) -> Iterator[Note]:
    """Which of the named options were given, where they have no effect."""
    for name in names:
        if getattr(options, name) != getattr(ReadOptions(), name):
            what = f"--data.{name} has no effect on this file"
            yield Note("unused_option", what)


def damaged(error: Exception) -> Broken:
    """What a failure to read says to a user."""
    if isinstance(error, OSError) and error.strerror:
        what, remedy = f"cannot be read: {error.strerror}.", "Check its permissions."
        return Broken("unreadable_file", what, remedy)
    why = str(error).strip().rstrip(".") or type(error).__name__
    return Broken("broken_file", f"is cut off or damaged: {why}.", REMEDY)


def _zstd(stream: BinaryIO) -> BinaryIO:
    import pyarrow as pa

    return cast("BinaryIO", pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"))


def _gzip(stream: BinaryIO) -> BinaryIO:
    return cast("BinaryIO", gzip.GzipFile(fileobj=stream))


PACKED: tuple[tuple[re.Pattern[bytes], str, Layer], ...] = (
    (re.compile(b"\x1f\x8b"), ".gz", _gzip),
    (re.compile(re.escape(b"\x28\xb5\x2f\xfd")), ".zst", _zstd),
    (re.compile(rb"BZh[1-9]1AY&SY"), ".bz2", cast("Layer", bz2.BZ2File)),
    (re.compile(b"\xfd7zXZ\x00"), ".xz", cast("Layer", lzma.LZMAFile)),
)
