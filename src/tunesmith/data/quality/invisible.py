"""Do rows hold characters that nobody sees and the model learns all the same?

Control characters, marks of the writing direction, and characters without width: left behind by
exports and web pages, or put there to hide text. What a script or an emoji needs is no fault: a
joiner in Persian, Hindi or a family of emoji, a direction mark beside Arabic or Hebrew letters.
"""

import re
import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tunesmith.data.quality.text import DataFinding, Seen
from tunesmith.data.rows import texts_in, texts_of

CODE = "invisible_characters"
SHOWN = 3  # of a kind, in a message
_CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_OVERRIDES, _DIRECTIONS = "\u202d\u202e", "\u061c\u200e\u200f\u202a-\u202c\u2066-\u2069"
_JOINERS, _BREAK = "\u200c\u200d", "\u200b"
_OTHERS = "\u00ad\u180e\u2060-\u2064\u3164\ufeff\uffa0\U000e0001\U000e0020-\U000e007f"
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_JOINED = (  # scripts and signs in which a joiner changes what is seen
    "\u0600-\u109f\u1780-\u18af\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc"
    "\u2190-\u2bff\ufe0f\u20e3\U0001f000-\U0001faff"
)
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"  # where it marks the end of a word
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f")  # of a part of a country


@dataclass(frozen=True, slots=True)
class _Invisible:
    """One kind of them, and how it is found; of ``directions`` right-to-left text needs some."""

    name: str
    pattern: re.Pattern[str]
    directions: bool = False


_KINDS = (
    _Invisible("control characters", re.compile(f"[{_CONTROL}]")),
    _Invisible("overrides of the writing direction", re.compile(f"[{_OVERRIDES}]")),
    _Invisible("marks of the writing direction", re.compile(f"[{_DIRECTIONS}]"), directions=True),
    _Invisible(
        "characters without width",
        re.compile(f"(?<![{_JOINED}])[{_JOINERS}]|(?<![{_UNSPACED}]){_BREAK}|[{_OTHERS}]"),
    ),
)
_ANY = re.compile(f"[{_CONTROL}{_OVERRIDES}{_DIRECTIONS}{_JOINERS}{_BREAK}{_OTHERS}]")
# Those that Unicode gives no name.
_NAMES = {"\x00": "NUL", "\x1b": "escape", "\x7f": "delete", "\ufeff": "byte order mark"}


def find_invisible(text: str) -> Iterator[tuple[str, str]]:
    """Each kind that is in the text, and the first character of it."""
    if not _ANY.search(text):
        return
    text = _FLAG.sub("", text)
    reads_backwards = _RIGHT_TO_LEFT.search(text) is not None
    for kind in _KINDS:
        if kind.directions and reads_backwards:
            continue
        if match := kind.pattern.search(text):
            yield kind.name, match[0]


class InvisibleCharacters:
    """Rows in which each kind is found."""

    def __init__(self) -> None:
        self._count = 0
        self._rows: dict[str, array[int]] = {}
        self._found: dict[str, dict[str, None]] = {}

    def observe(self, row: Seen) -> None:
        """Look through the row's messages and tools."""
        conversation = row.conversation
        texts = [text for message in conversation.messages for text in texts_of(message)]
        for text in (*texts, *texts_in(conversation.tools)):
            for name, character in find_invisible(text):
                rows = self._rows.setdefault(name, array("L"))
                if not rows or rows[-1] != self._count:
                    rows.append(self._count)
                self._found.setdefault(name, {})[character] = None
        self._count += 1

    def findings(self) -> Iterator[DataFinding]:
        """The rows of each kind, the characters by their numbers, and what to do."""
        for name, rows in self._rows.items():
            shown = ", ".join(map(_shown, list(self._found[name])[:SHOWN]))
            more = ", ..." if len(self._found[name]) > SHOWN else ""
            what = (
                f"{name} that nobody sees ({shown}{more}), which the model learns to write; "
                "remove them"
            )
            yield DataFinding(CODE, what, np.array(rows, dtype=np.int64))


def _shown(character: str) -> str:
    """`U+202E right-to-left override`."""
    name = _NAMES.get(character) or unicodedata.name(character, "").lower()
    return f"U+{ord(character):04X} {name}".rstrip()
