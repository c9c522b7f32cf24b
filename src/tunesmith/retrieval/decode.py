"""Which text do the bytes of a file hold?"""

from tunesmith.core.encodings import HEAD_BYTES, UTF8, is_utf8, is_western, legacy_readings
from tunesmith.core.errors import RagError

BOMS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
REMEDY = "Save it as UTF-8, or leave it out."


def decode(data: bytes) -> str:
    """The text of these bytes: by its mark, as UTF-8, or in the encoding that they prove.

    Raises RagError where the bytes are no text, or a text in one of several encodings.
    """
    for mark, encoding in BOMS.items():
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                raise _not_text(f"byte {error.start:,} is no {encoding}") from None
    if b"\0" in data:
        raise _not_text("it holds zero bytes")
    try:
        return data.decode(UTF8)
    except UnicodeDecodeError as error:
        return _decode_legacy(data, error.start)


def _decode_legacy(data: bytes, wrong: int) -> str:
    """The text of bytes that are not UTF-8, the first of them at ``wrong``."""
    head = data[data.rfind(b"\n", 0, wrong) + 1 :][:HEAD_BYTES]
    if is_utf8(head):
        if is_western(data):
            return data.decode("cp1252")
        raise _not_text(f"byte {wrong:,} is no {UTF8}")
    readings = legacy_readings(head)
    if not readings:
        raise _not_text("its encoding cannot be recognized")
    if len(readings) > 1:
        shown = " or ".join(f"{each.encoding} (`{each.snippet}`)" for each in readings)
        what = f"is not UTF-8, and could be {shown}."
        raise RagError(what, remedy=REMEDY, code="ambiguous_encoding")
    encoding = readings[0].encoding
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _not_text(f"byte {error.start:,} is no {encoding}") from None


def _not_text(why: str) -> RagError:
    return RagError(f"is no text: {why}.", remedy=REMEDY, code="not_text")
