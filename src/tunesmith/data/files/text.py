"""What a text file holds: its encoding, its lines in UTF-8, and plain text as records."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from encodings.aliases import aliases
from itertools import chain

from tunesmith.core.encodings import HEAD_BYTES, UTF8, is_utf8, legacy_readings
from tunesmith.core.phrases import nearest
from tunesmith.data.faults import Fault, Note
from tunesmith.data.files.source import Broken, Source, unused
from tunesmith.data.rows import MAX_ROW_BYTES, ReadOptions, Record

MARKS = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MARK = "tunesmith.mark"


@dataclass(frozen=True, slots=True)
class EncodingChoice:
    """An encoding, and why it was taken where that is worth saying."""

    encoding: str
    note: Note | None = None


def choose_encoding(head: bytes, asked: str) -> EncodingChoice:
    """The encoding of a text that begins with ``head``; raises Broken where it must be asked.

    A text that is UTF-8 but for a few bytes is UTF-8: each of those is a fault with its place.
    """
    if asked != "auto":
        return EncodingChoice(_known(asked))
    for mark, encoding in MARKS:
        if head.startswith(mark):
            why = "its byte order mark says so"
            return EncodingChoice(encoding, _note(encoding, why) if encoding != UTF8 else None)
    if (wide := _without_mark(head)) is not None:
        return EncodingChoice(wide, _note(wide, "every other byte is zero"))
    return EncodingChoice(UTF8) if is_utf8(head) else _legacy(head)


def _known(asked: str) -> str:
    try:
        "".encode(asked)  # refuses what is no encoding of text, such as base64
        return codecs.lookup(asked).name.removesuffix("-sig")
    except LookupError:
        near = nearest(asked.lower(), [*aliases, *aliases.values()])
        hint = f"Did you mean {near}?" if near else "Some: utf-8, utf-16, cp949, cp1252."
        raise Broken("unknown_encoding", f"the encoding `{asked}` is not known.", hint) from None


def _without_mark(head: bytes) -> str | None:
    """UTF-16 of mostly Latin text: it has a zero byte beside nearly every character."""
    even, odd = head[0::2], head[1::2]
    if not head or head.count(0) * 4 < len(head):
        return None
    return "utf-16-le" if odd.count(0) > even.count(0) else "utf-16-be"


def _legacy(head: bytes) -> EncodingChoice:
    """The encoding that reads the text best; raises Broken where another reads it as well."""
    readings = legacy_readings(head)
    if not readings:
        what = "is not UTF-8, and its encoding cannot be recognized."
        raise Broken("unknown_encoding", what, "Name it, for example --data.encoding cp949.")
    if len(readings) > 1:
        shown = " or ".join(f"{each.encoding} (`{each.snippet}`)" for each in readings)
        what = f"is not UTF-8, and could be {shown}."
        remedy = f"Say which with --data.encoding {' or '.join(r.encoding for r in readings)}."
        raise Broken("ambiguous_encoding", what, remedy)
    (found,) = readings
    language = f", {found.language}" if found.language else ""
    why = f"the text reads best so{language}: {found.snippet}"
    return EncodingChoice(found.encoding, _note(found.encoding, why))


def _note(encoding: str, why: str) -> Note:
    return Note("encoding", f"read as {encoding}: {why} (--data.encoding names another)")


def _mark(error: UnicodeError) -> tuple[str, int]:
    """Puts a lone surrogate, which no text holds, in the place of each byte that is wrong."""
    assert isinstance(error, UnicodeDecodeError)
    wrong = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in wrong), error.end


codecs.register_error(MARK, _mark)


def as_utf8(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The text in UTF-8, without its byte order mark; a byte that is wrong stays wrong."""
    decoder = codecs.getincrementaldecoder(encoding)(MARK)
    is_first = True
    for raw in chain(chunks, [b""]):
        text = decoder.decode(raw, final=not raw)
        if text and is_first:
            text, is_first = text.removeprefix("\ufeff"), False
        if text:
            yield text.encode(UTF8, "surrogatepass")


CHUNK_BYTES = 1 << 20
UTF8_REMEDY = (
    "Save it as UTF-8, for example: iconv -f ENCODING -t UTF-8 FILE. Or name its encoding with "
    "--data.encoding."
)
TOO_LARGE = Fault(
    "row_too_large",
    f"the row takes more than {MAX_ROW_BYTES >> 20} MB.",
    "Cut it into several, or look for a line end or a quote that is missing.",
)


@dataclass(frozen=True, slots=True)
class Text:
    """A text file, its encoding known; ``notes`` say how. ``old_lines``: they end in CR."""

    source: Source
    encoding: str
    notes: tuple[Note, ...]
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

    def lines(self) -> Iterator[tuple[int, bytes | Fault]]:
        """Every line with its number and its end; or why it, and what follows, is not there."""
        number, kept, size = 0, list[bytes](), 0
        try:
            for chunk in self.chunks():
                first, *others = chunk.split(b"\n")
                size += len(first)
                kept = [*kept, first] if size <= MAX_ROW_BYTES else []
                if not others:
                    continue
                number += 1
                yield number, b"".join(kept) + b"\n" if size <= MAX_ROW_BYTES else TOO_LARGE
                for line in others[:-1]:
                    number += 1
                    yield number, line + b"\n"
                kept, size = [others[-1]], len(others[-1])
        except Broken as error:
            yield number + 1, error.problem
            return
        if size:
            yield number + 1, b"".join(kept) if size <= MAX_ROW_BYTES else TOO_LARGE

    def decoded(self, raw: bytes) -> str | Fault:
        """A line as text, or which of its bytes keeps it from being one."""
        try:
            return raw.decode(UTF8)
        except UnicodeDecodeError as error:
            start = error.start
        if self.encoding == UTF8:
            what = f"byte {start + 1} of the line is not UTF-8 (0x{raw[start]:02x})."
            return Fault("not_utf8", what, UTF8_REMEDY)
        place = len(raw[:start].decode(UTF8)) + 1
        byte = ord(raw[start : start + 3].decode(UTF8, "surrogatepass")) - 0xDC00
        return wrong_byte(self.encoding, f"character {place} of the line", byte)


def wrong_byte(encoding: str, place: str, byte: int) -> Fault:
    """A byte that the encoding does not have."""
    what = f"{place} is not {encoding} (0x{byte:02x})."
    remedy = "Fix the text, or name another encoding with --data.encoding."
    return Fault("not_in_encoding", what, remedy)


def _unmarked(chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield next(chunks, b"").removeprefix(codecs.BOM_UTF8)
    yield from chunks


def open_text(source: Source, options: ReadOptions) -> Text:
    """The text in the encoding that was asked for or proven; raises Broken."""
    head = source.head()
    choice = choose_encoding(head, options.encoding)
    notes = (choice.note,) if choice.note else ()
    old_lines = b"\r" in head and b"\n" not in head
    return Text(source, choice.encoding, notes, old_lines)


COLUMN = "text"
# Far more than a model's context, and little enough to be tokenized at once.
MAX_TEXT_BYTES = 1 << 20
CUT = Note(
    "long_text",
    f"parts of a text of more than {MAX_TEXT_BYTES >> 20} MB: it was cut between paragraphs, or "
    "else lines",
)


def read_prose(source: Source, options: ReadOptions) -> Iterator[Record]:
    """One record for a text, or for each part of a long one, with the line where it begins."""
    text = open_text(source, options)
    yield Record(0, notes=(*text.notes, *unused(options, "delimiter", "part")))
    kept: list[str] = []
    start, size, parts = 1, 0, 0
    for number, raw in text.lines():
        line = raw if isinstance(raw, Fault) else text.decoded(raw)
        if isinstance(line, Fault):
            yield Record(number, None, line)
            continue
        if not kept and not line.strip():
            continue
        start = start if kept else number
        kept.append(line)
        size += len(line)
        is_paragraph = not line.strip()
        if size >= MAX_TEXT_BYTES or (is_paragraph and size >= MAX_TEXT_BYTES // 2):
            parts += 1
            yield _text(start, kept, is_part=True)
            kept, size = [], 0
    if kept:
        yield _text(start, kept, is_part=parts > 0)
    elif not parts:
        yield Record(0, None, Fault("empty_file", "holds no text.", "Name a file with text."))


def _text(start: int, lines: list[str], *, is_part: bool) -> Record:
    text = "".join(lines).replace("\r\n", "\n").strip("\n")
    return Record(start, {COLUMN: text}, notes=(CUT,) if is_part else ())
