"""In which encoding is a text that is not UTF-8: what its bytes prove, and what they leave open?"""

import codecs
import re
from dataclasses import dataclass

UTF8 = "utf-8"
HEAD_BYTES = 1 << 18  # enough of a text to know its encoding by
# What tables are found in, beside UTF: others can be named. cp949 holds all of EUC-KR.
ASIAN = ("cp949", "cp932", "euc_jp", "gb18030", "big5")
LEGACY = (*ASIAN, "cp1252", "cp1250", "cp1251", "cp1253", "cp1254")
CENTRAL = {"Polish", "Czech", "Slovak", "Hungarian", "Slovene", "Croatian", "Romanian"}
# Fewer wrong bytes are damage in a UTF-8 text rather than another encoding.
MIN_BYTES = 4
# Letters that fit together worse than this (0: well, 1: not at all) are in another encoding.
MAX_CHAOS = 0.1
MIN_WHOLE = 0.8
SNIPPET = 24
LONG_ASCII = re.compile(rb"([\x00-\x7f]{8})[\x00-\x7f]{24,}([\x00-\x7f]{8})")


@dataclass(frozen=True, slots=True)
class LegacyReading:
    """An encoding, the first words beyond ASCII in it, and their language where that is known."""

    encoding: str
    snippet: str
    language: str | None = None


def is_utf8(head: bytes) -> bool:
    """Whether a text is UTF-8, but for a few bytes that are damaged."""
    marked = codecs.getincrementaldecoder(UTF8)("surrogateescape").decode(head)
    wrong = sum("\udc80" <= c <= "\udcff" for c in marked)
    right = sum(c > "\x7f" for c in marked) - wrong
    return wrong < MIN_BYTES or right > wrong // 2


def is_western(data: bytes) -> bool:
    """Whether the few characters beyond ASCII of a text are Western ones: single bytes, as words of
    other scripts and characters of UTF-8 have several in a row.
    """
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return re.search(rb"[\x80-\xff]{2}", data) is None


def legacy_readings(head: bytes) -> list[LegacyReading]:
    """The encodings that read a text best: one where that is proven, none where none reads it."""
    from charset_normalizer import from_bytes

    head = head.rpartition(b"\n")[0] or head
    head = LONG_ASCII.sub(rb"\1\n\2", _undamaged(head))  # long ASCII hides the difference
    found = list(from_bytes(head, cp_isolation=list(LEGACY)))
    if not found or found[0].chaos > MAX_CHAOS:
        return []
    best = found[0]
    near = [m for m in found if m.chaos - best.chaos < 0.02 and best.coherence - m.coherence < 0.1]
    readings = {head.decode(m.encoding, "replace"): m.encoding for m in reversed(near)}
    western = "cp1254" if best.language == "Turkish" else "cp1252"
    read = head.decode(western, "replace")
    if read in readings and best.language not in CENTRAL:
        readings = {read: western}
    language = best.language if best.language != "Unknown" else None
    return [LegacyReading(name, _snippet(text), language) for text, name in readings.items()]


def _undamaged(head: bytes) -> bytes:
    """The lines beyond ASCII that an Asian encoding reads, where it reads nearly all of them.

    A wrong byte would rule out the encoding that all other lines are in.
    """
    lines = [line for line in head.split(b"\n") if not line.isascii()]
    read = {name: [line for line in lines if _is_whole(line, name)] for name in ASIAN}
    limit = max(read.values(), key=len)
    return b"\n".join(limit) if MIN_WHOLE * len(lines) <= len(limit) < len(lines) else head


def _is_whole(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _snippet(text: str) -> str:
    """The first words beyond ASCII."""
    at = next((i for i, c in enumerate(text) if c > "\x7f"), 0)
    start = max(text.rfind(mark, 0, at) for mark in ("\n", ",", ";", "\t", " ", '"')) + 1
    return text[max(start, at - SNIPPET) : at + SNIPPET].split("\n")[0].strip()
