"""Which lines a text file holds: in UTF-8 whatever it was, numbered, none of them without end."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.data.faults import Problem, Remark
from tunesmith.data.files.encoding import UTF8, as_utf8, choose_encoding
from tunesmith.data.files.record import MOST_ROW_BYTES, ReadOptions
from tunesmith.data.files.source import HEAD_BYTES, Broken, Source

CHUNK_BYTES = 1 << 20
UTF8_REMEDY = "Save it as UTF-8, for example: iconv -f ENCODING -t UTF-8 FILE. Or name its "
UTF8_REMEDY += "encoding with --data.encoding."
TOO_LARGE = Problem(
    "row_too_large",
    f"the row takes more than {MOST_ROW_BYTES >> 20} MB.",
    "Cut it into several, or look for a line end or a quote that is missing.",
)


@dataclass(frozen=True, slots=True)
class Text:
    """A text file, its encoding known; ``remarks`` says how. ``old_lines``: they end in CR."""

    source: Source
    encoding: str
    remarks: tuple[Remark, ...]
    old_lines: bool

    def chunks(self) -> Iterator[bytes]:
        """The text in UTF-8, piece by piece; raises Broken."""
        with self.source.open() as stream:
            raw = iter(lambda: stream.read(CHUNK_BYTES), b"")
            utf8 = _unmarked(raw) if self.encoding == UTF8 else as_utf8(raw, self.encoding)
            for chunk in utf8:
                yield chunk.replace(b"\r", b"\n") if self.old_lines else chunk

    def head(self) -> bytes:
        """The text's beginning in UTF-8; raises Broken."""
        found = b""
        for chunk in self.chunks():
            found += chunk
            if len(found) >= HEAD_BYTES:
                break
        return found

    def lines(self) -> Iterator[tuple[int, bytes | Problem]]:
        """Every line with its number and its end; or why it, and what follows, is not there."""
        number, kept, size = 0, list[bytes](), 0
        try:
            for chunk in self.chunks():
                first, *others = chunk.split(b"\n")
                size += len(first)
                kept = [*kept, first] if size <= MOST_ROW_BYTES else []
                if not others:
                    continue
                number += 1
                yield number, b"".join(kept) + b"\n" if size <= MOST_ROW_BYTES else TOO_LARGE
                for line in others[:-1]:
                    number += 1
                    yield number, line + b"\n"
                kept, size = [others[-1]], len(others[-1])
        except Broken as error:
            yield number + 1, error.problem
            return
        if size:
            yield number + 1, b"".join(kept) if size <= MOST_ROW_BYTES else TOO_LARGE

    def decoded(self, raw: bytes) -> str | Problem:
        """A line as text, or which of its bytes keeps it from being one."""
        try:
            return raw.decode(UTF8)
        except UnicodeDecodeError as error:
            start = error.start
        if self.encoding == UTF8:
            what = f"byte {start + 1} of the line is not UTF-8 (0x{raw[start]:02x})."
            return Problem("not_utf8", what, UTF8_REMEDY)
        place = len(raw[:start].decode(UTF8)) + 1
        byte = ord(raw[start : start + 3].decode(UTF8, "surrogatepass")) - 0xDC00
        return wrong_byte(self.encoding, f"character {place} of the line", byte)


def wrong_byte(encoding: str, place: str, byte: int) -> Problem:
    """A byte that the encoding does not have."""
    what = f"{place} is not {encoding} (0x{byte:02x})."
    remedy = "Mend the text, or name another encoding with --data.encoding."
    return Problem("not_in_encoding", what, remedy)


def _unmarked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield next(chunks, b"").removeprefix(codecs.BOM_UTF8)
    yield from chunks


def open_text(source: Source, options: ReadOptions) -> Text:
    """The text in the encoding that was asked for or proven; raises Broken."""
    head = source.head()
    choice = choose_encoding(head, options.encoding)
    remarks = (choice.remark,) if choice.remark else ()
    old_lines = b"\r" in head and b"\n" not in head
    return Text(source, choice.encoding, remarks, old_lines)
